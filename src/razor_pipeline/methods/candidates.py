"""Candidates of a method that changes the model in place: all are measured alike, the best one becomes the edit."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from razor_pipeline.core.components import ParameterSlice
from razor_pipeline.core.expansion import StopReason
from razor_pipeline.core.gradients import assert_finite
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.interfaces import EditResult, ModelFamily, UnlearningTask
from razor_pipeline.methods.acceptance import Shortfall, distance, shortfall
from razor_pipeline.methods.drawn import DrawnValidation
from razor_pipeline.methods.validation import Outcome, Validation
from razor_pipeline.params.razor import AcceptanceParams

logger = logging.getLogger(__name__)


def check_names(model: ModelFamily, method: str) -> None:
    """Refuse a model that draws, for a method that is written for models that name what they see.

    Raises:
        ValueError: it is one.
    """
    if model.yardstick == "anchor":
        raise ValueError(
            f"{method} is written for models that name what an image shows, and '{model.name}' draws; take it out of "
            "benchmark.methods"
        )


class Candidates:
    """The search of one method over its hyper-parameter, on the validation split; its clock runs from the start.

    Args:
        model: at its base weights.
        task: targets and data.
        params: the limits of acceptance.
        method: its name, for the manifest.

    Attributes:
        parameters: name -> the model's weights.
        origin: name -> copies of the base weights.
    """

    def __init__(
        self, model: ModelFamily, task: UnlearningTask, params: AcceptanceParams, method: str
    ) -> None:
        self.started = time.perf_counter()
        self.model, self.params, self.method = model, params, method
        self.parameters: dict[str, Tensor] = dict(model.module.named_parameters())
        self.origin = {name: tensor.detach().clone() for name, tensor in self.parameters.items()}
        self.validation: Callable[[], Outcome] = (
            DrawnValidation(task, task.see) if task.see else Validation(model, task, by_output=True)
        )
        self.base = self.validation()
        self.trace: list[dict[str, Any]] = [self.base.row(step=0, round=0, stage="base", step_size=0.0)]
        self.redirects = model.yardstick == "anchor"
        self.value = math.nan  # the hyper-parameter of the best one
        self.best: tuple[tuple[float, ...], Shortfall, dict[str, Tensor]] | None = None

    @contextmanager
    def search(self) -> Iterator[Candidates]:
        """Let the block change all weights; every bit is back behind it, also when it raises."""
        try:
            yield self
        finally:
            self.put(self.origin)

    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Write weights into the model."""
        with torch.no_grad():
            for name, tensor in weights.items():
                self.parameters[name].copy_(tensor)

    def consider(self, stage: str, value: float) -> Shortfall:
        """Measure the model as it is.

        Of equally good states the nearest to its goals is kept (decision 0033). Where the yardstick is an anchor there
        are no strangers, so being told from others is no shortfall; there the one that shows the target least is kept
        and, of these, the one that keeps most (decision 0011).

        Args:
            stage: what made it, for the trace.
            value: of the hyper-parameter.
        """
        for name, tensor in self.parameters.items():  # as it would be saved, where float16 ends at 65504
            assert_finite({name: tensor.to(self.model.stored_dtype)}, f"a weight after {self.method}")
        outcome = self.validation()
        self.trace.append(outcome.row(step=len(self.trace), round=1, stage=stage, step_size=value))
        found = shortfall(outcome, self.base, self.params, reference=not self.redirects)
        rank = (
            (found.gap, outcome.forget_accuracy, -outcome.retain_accuracy)
            if self.redirects
            else (found.gap, distance(outcome, self.base, self.params))
        )
        if self.best is None or rank < self.best[0]:
            changed = {
                name: tensor.detach().clone()
                for name, tensor in self.parameters.items()
                if not torch.equal(tensor, self.origin[name])
            }
            self.best = rank, found, changed
            self.value = value
        return found

    def result(self, grid: Sequence[float] = ()) -> EditResult:
        """The best candidate as an edit of the weights that it changed.

        Args:
            grid: the values that were to be tried; what is best at an end of them may be better beyond.

        Raises:
            ValueError: nothing was considered.
        """
        if self.best is None:
            raise ValueError(f"{self.method} considered no candidate; give it at least one value to try")
        _, short, weights = self.best
        if len(grid) > 1 and self.value in (min(grid), max(grid)):
            logger.warning(
                "Of the values from %g to %g %s does best with %g, at their end; further ones may do better.",
                min(grid),
                max(grid),
                self.method,
                self.value,
            )
        parts = [ParameterSlice(name) for name in weights]
        dtype = self.model.stored_dtype
        edit = WeightEdit(
            tuple(parts),
            {name: self.origin[name].to("cpu", dtype) for name in weights},
            {name: tensor.to("cpu", dtype) for name, tensor in weights.items()},
            tuple(weights),
            {"method": self.method},
        )
        kept = StopReason.TARGET_MET if short.kept else StopReason.RETAIN_FLOOR
        reason = kept if short.forgotten else StopReason.NO_GAIN
        # RAZOR has no candidates to look at where a model draws, so its peers are not made to pay for theirs.
        looking = self.validation.seconds if isinstance(self.validation, DrawnValidation) else 0.0
        seconds = {"score": 0.0, "edit": time.perf_counter() - self.started - looking}
        return EditResult(edit, self.trace, reason, 1, seconds)
