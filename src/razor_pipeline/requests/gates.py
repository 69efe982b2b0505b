"""Gates: what a request's figures must show before its model may serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from razor_pipeline.core.metrics import ROUNDING, Estimate
from razor_pipeline.params.requests import GateParams

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
    schemes = [name.removesuffix("_base") for name in figures if name.endswith("_base")]
    found = _of_model("", figures["base"], figures["edited"], limits, limits.max_retain_drop)
    for scheme in schemes:
        base, edited = figures[f"{scheme}_base"], figures[f"{scheme}_edited"]
        found += _of_model(f", {scheme}", base, edited, limits, limits.max_quantized_retain_drop)
    marks = figures["edited"]
    if "membership_auc" in marks:
        name = "target told from strangers, AUC"
        found.append(_most(name, marks["membership_auc"], limits.max_membership_auc))
    if "relearn_steps" in marks:
        steps = marks["relearn_steps"]
        name = "steps to relearn the target"
        found.append(Gate(name, steps.value, ABOVE, limits.min_relearn_steps, steps.n))
    return found


def _of_model(
    where: str,
    base: Mapping[str, Estimate],
    edited: Mapping[str, Estimate],
    limits: GateParams,
    max_retain_drop: float,
) -> list[Gate]:
    """The gates that the edited model and each quantized copy of it pass; ``where`` says which in a gate's name."""
    found = []
    for metric, whose in (("forget_accuracy", "target"), ("earlier_accuracy", "any earlier target")):
        if metric in edited:
            found.append(_most(f"{whose} recognised{where}", edited[metric], limits.max_forget_accuracy))
    found.append(_drop(f"drop of what is kept{where}", "retain_accuracy", base, edited, max_retain_drop))
    if "worst_class_loss" in edited:
        lost = edited["worst_class_loss"]
        name = f"lost by any one kept class beyond doubt{where}"
        found.append(Gate(name, lost.low, BELOW, limits.max_class_loss, lost.n))
    if "general_accuracy" in edited:
        name = f"drop of other domains{where}"
        found.append(_drop(name, "general_accuracy", base, edited, limits.max_general_drop))
    return found


def _most(name: str, found: Estimate, limit: float) -> Gate:
    return Gate(name, found.value, BELOW, limit, found.n)


def _drop(
    name: str, metric: str, base: Mapping[str, Estimate], edited: Mapping[str, Estimate], limit: float
) -> Gate:
    return Gate(name, base[metric].value - edited[metric].value, BELOW, limit, edited[metric].n)
