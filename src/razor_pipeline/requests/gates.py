"""Gates: what a request's figures must show before its model may serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from razor_pipeline.core.metrics import Estimate
from razor_pipeline.params.requests import GateParams

ROUNDING = 1e-9  # a drop computed as 0.99 - 0.98 must still count as 0.01
BELOW, ABOVE = "at most", "at least"


@dataclass(frozen=True)
class Gate:
    """One figure against its limit.

    Attributes:
        name: what is asked.
        measured: the value on the test split.
        rule: ``at most`` or ``at least``.
        limit: the limit.
        n: samples behind the value.
    """

    name: str
    measured: float
    rule: str
    limit: float
    n: int

    @property
    def passed(self) -> bool:
        """Whether the limit holds; NaN holds none."""
        if self.rule == BELOW:
            return self.measured <= self.limit + ROUNDING
        return self.measured >= self.limit - ROUNDING

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "passed": self.passed}


def gates(figures: Mapping[str, Mapping[str, Estimate]], limits: GateParams) -> list[Gate]:
    """Every gate of a request.

    Args:
        figures: of :meth:`razor_pipeline.requests.examination.Examiner.examine`.
        limits: the configured limits.
    """
    found: list[Gate] = []
    for base, edited in [(name, name.replace("base", "edited")) for name in figures if name.endswith("base")]:
        where = "" if base == "base" else f", {base.removesuffix('_base')}"
        marks, before = figures[edited], figures[base]
        if "forget_accuracy" in marks:
            name = f"target recognised{where}"
            found.append(_most(name, marks["forget_accuracy"], limits.max_forget_accuracy))
        if "earlier_accuracy" in marks:
            name = f"any earlier target recognised{where}"
            found.append(_most(name, marks["earlier_accuracy"], limits.max_forget_accuracy))
        drop = limits.max_quantized_retain_drop if where else limits.max_retain_drop
        found.append(_drop(f"drop of what is kept{where}", "retain_accuracy", before, marks, drop))
        if "worst_class_loss" in marks:
            lost = marks["worst_class_loss"]
            name = f"lost by any one kept class beyond doubt{where}"
            found.append(Gate(name, lost.low, BELOW, limits.max_class_loss, lost.n))
        if "general_accuracy" in marks:
            found.append(
                _drop(
                    f"drop of other domains{where}",
                    "general_accuracy",
                    before,
                    marks,
                    limits.max_general_drop,
                )
            )
    marks = figures["edited"]
    if "membership_auc" in marks:
        found.append(
            _most("target told from strangers, AUC", marks["membership_auc"], limits.max_membership_auc)
        )
    if "relearn_steps" in marks:
        steps = marks["relearn_steps"]
        found.append(
            Gate("steps to relearn the target", steps.value, ABOVE, limits.min_relearn_steps, steps.n)
        )
    return found


def _most(name: str, found: Estimate, limit: float) -> Gate:
    return Gate(name, found.value, BELOW, limit, found.n)


def _drop(
    name: str, metric: str, base: Mapping[str, Estimate], edited: Mapping[str, Estimate], limit: float
) -> Gate:
    return Gate(name, base[metric].value - edited[metric].value, BELOW, limit, edited[metric].n)
