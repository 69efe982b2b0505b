"""The rule by which every method chooses among its candidates, on the validation split."""

from __future__ import annotations

from razor_pipeline.methods.validation import Outcome
from razor_pipeline.params import AcceptanceParams

Badness = tuple[float, float, float]


def badness(outcome: Outcome, base: Outcome, params: AcceptanceParams, leak_counts: bool = True) -> Badness:
    """What is wrong with a candidate, the worst first; smaller is better, zeros are accepted.

    Args:
        outcome: of the candidate.
        base: of the base model.
        params: the limits.
        leak_counts: whether the target may be told from strangers; off where accuracy alone decides.

    Returns:
        How far the forget accuracy lies above its limit, the AUC outside its window, and the retain accuracy below
        its floor.
    """
    leak = (
        max(0.0, abs(outcome.knowledge_auc - params.auc_goal) - params.auc_tolerance) if leak_counts else 0.0
    )
    floor = base.retain_accuracy - params.max_retain_drop
    return (
        max(0.0, outcome.forget_accuracy - params.max_forget_accuracy),
        leak,
        max(0.0, floor - outcome.retain_accuracy),
    )
