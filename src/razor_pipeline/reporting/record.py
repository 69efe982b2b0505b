"""Everything that one finished run left behind, in one hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.manifest import reference_tested
from razor_pipeline.reporting.wording import said_names

MEGABYTE = 1e6


@dataclass(frozen=True)
class RunRecord:
    """The outputs of one run, as the catalog holds them.

    Attributes:
        metrics: model, metric, value, low, high, n.
        component_scores: a row per component, fields of ``core.scoring.ComponentScore``.
        edit_trace: a row per evaluation of the step search and of the corrective steps.
        edit_report: how the edit came about: stop_reason, rounds, seconds, components, …
        predictions: the top captions of chosen test images, or the drawings of chosen prompts, before and after.
        samples: manifest rows with their roles.
        quantization: scheme, changed_bin_share, mb.
        manifest: that of the weight edit.
        delta_bytes: size of the edit's tensors.
        scenario: name of the configuration.
        seed: of the run.
        parameters: all parameters as given, for the appendix.
    """

    metrics: pd.DataFrame
    component_scores: pd.DataFrame
    edit_trace: pd.DataFrame
    edit_report: dict[str, Any]
    predictions: pd.DataFrame
    samples: pd.DataFrame
    quantization: pd.DataFrame
    manifest: dict[str, Any]
    delta_bytes: int
    scenario: str
    seed: int
    parameters: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, edit: WeightEdit, **outputs: Any) -> RunRecord:
        """From the weight edit and the other fields."""
        tensors = [*edit.before.values(), *edit.after.values()]
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return cls(manifest=edit.manifest, delta_bytes=size, **outputs)

    @property
    def targets(self) -> tuple[str, ...]:
        """Labels that were to be forgotten."""
        return tuple(sorted(set(self.samples.loc[self.samples["role"] == "forget", "label"])))

    @property
    def target(self) -> str:
        """The targets as they are given on the command line."""
        return said_names(self.targets)

    @property
    def has_reference(self) -> bool:
        """Whether never-seen classes are what the target is held against; where there are none, the other known are."""
        return reference_tested(self.samples)

    @property
    def draws(self) -> bool:
        """Whether the model makes images, which judges look at."""
        return "image_bytes" in self.predictions

    @property
    def answers(self) -> bool:
        """Whether the model answers questions."""
        return "correct" in self.predictions

    @property
    def schemes(self) -> tuple[str, ...]:
        """Quantization schemes that were evaluated, in order of appearance."""
        models = [str(name) for name in self.metrics["model"].unique()]
        return tuple(name.removesuffix("_edited") for name in models if name.endswith("_edited"))

    def estimate(self, model: str, metric: str) -> dict[str, float] | None:
        """Value, interval and sample count of one metric; None where it was not measured."""
        rows = self.metrics[(self.metrics["model"] == model) & (self.metrics["metric"] == metric)]
        if rows.empty:
            return None
        row = rows.iloc[0]
        return {
            "value": float(row["value"]),
            "low": float(row["low"]),
            "high": float(row["high"]),
            "n": int(row["n"]),
        }

    def value(self, model: str, metric: str) -> float | None:
        """Just the value."""
        found = self.estimate(model, metric)
        return None if found is None else found["value"]
