"""The rule by which every method chooses among its candidates, on the validation split."""

from __future__ import annotations

from dataclasses import dataclass

from razor_pipeline.core.metrics import most_lost
from razor_pipeline.methods.validation import Outcome
from razor_pipeline.params.razor import AcceptanceParams


@dataclass(frozen=True)
class Shortfall:
    """How far a candidate is from being accepted; differences of shares, 0 where a limit is met.

    Attributes:
        forget: the forget accuracy above its limit; where the model answers questions, also how often it agrees that
            the target's images show it.
        leak: the AUC outside its window, on either side; where the model draws, 0.
        retain: the retain accuracy below its floor, or what the class that loses most has lost above its limit,
            whichever is more: a mean over many classes says little of one.
        general: where the model draws, the general accuracy below its floor; else 0.
    """

    forget: float
    leak: float
    retain: float
    general: float = 0.0

    @property
    def gap(self) -> float:
        """What candidates are chosen by, the smallest wins: the mean of the three that count; at 0 one is accepted.

        Where a model draws, ``leak`` does not count, where it does not, ``general``. The benchmark ranks by the gap to
        retraining, a mean of absolute differences of shares. This is the same mean over what the validation split can
        tell: no part goes before another, so a method that can only trade one for the other is not made to pay for the
        first with all of the last (decision 0008).
        """
        return (self.forget + self.leak + self.retain + self.general) / 3.0

    @property
    def forgotten(self) -> bool:
        """Whether forgetting and leakage are within their limits."""
        return self.forget == 0.0 and self.leak == 0.0

    @property
    def kept(self) -> bool:
        """Whether nothing that is kept is below its floor."""
        return self.retain == 0.0 and self.general == 0.0


def shortfall(outcome: Outcome, base: Outcome, params: AcceptanceParams, reference: bool = True) -> Shortfall:
    """What a candidate falls short of.

    Args:
        outcome: of the candidate.
        base: of the base model; in a line of requests, of the one that the line began with.
        params: the limits.
        reference: whether there are any that the target could be told from; there are none where the model draws.
    """
    off = max((abs(auc - params.auc_goal) for auc in outcome.aucs), default=0.0)
    leak = off - params.auc_tolerance if reference and params.auc_tolerance is not None else 0.0
    floor = base.retain_accuracy - params.max_retain_drop
    # A class has few validation images: what it has lost beyond doubt counts. Prompts say all of a class alike.
    lost = 0.0
    if reference and len(outcome.right):
        before, after = base.right.to_numpy(dtype=bool), outcome.right.to_numpy(dtype=bool)
        lost = most_lost(before, after, list(base.right.index))[1].low
    known = max(outcome.forget_accuracy, outcome.agreement or 0.0)
    return Shortfall(
        forget=max(0.0, known - params.max_forget_accuracy),
        leak=max(0.0, leak),
        retain=max(0.0, floor - outcome.retain_accuracy, lost - params.max_class_loss),
        general=_below(outcome.general_accuracy, base.general_accuracy, params.max_retain_drop),
    )


def distance(outcome: Outcome, base: Outcome, params: AcceptanceParams) -> float:
    """How far from all limits' goals a candidate is, whatever the limits allow: what the gap counts, without tolerance.

    Of candidates that fall short of nothing a method's edit is the nearest one (decision 0033).

    Args:
        outcome: of the candidate.
        base: of the base model.
        params: with the goal of the AUC.
    """
    off = max((abs(auc - params.auc_goal) for auc in outcome.aucs), default=0.0)
    known = max(outcome.forget_accuracy, outcome.agreement or 0.0)
    return known + off + max(0.0, base.retain_accuracy - outcome.retain_accuracy)


def _below(share: float | None, base: float | None, drop: float) -> float:
    return 0.0 if share is None or base is None else max(0.0, base - drop - share)
