"""The verdict: one word, one sentence, and the checks behind it, each with its number and its limit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from razor_pipeline.params import ReportingParams
from razor_pipeline.reporting.record import RunRecord
from razor_pipeline.reporting.wording import and_list, auc_text, percent, points

ROUNDING = 1e-9  # a drop computed as 0.99 - 0.98 must still count as 0.01


class Kind(StrEnum):
    """What can be said of a run."""

    FORGOTTEN = "forgotten"
    AT_A_COST = "forgotten_at_a_cost"
    NOT_FORGOTTEN = "not_forgotten"
    NO_BASELINE = "no_baseline"


HEADLINES = {
    Kind.FORGOTTEN: "Forgotten",
    Kind.AT_A_COST: "Forgotten, at a cost",
    Kind.NOT_FORGOTTEN: "Not forgotten",
    Kind.NO_BASELINE: "Nothing to forget",
}


@dataclass(frozen=True)
class Check:
    """One measured value against its limit.

    Attributes:
        name: what is checked, in words.
        measured: the value as text.
        limit: the limit as text.
        passed: whether it holds.
        forgetting: it decides whether the target counts as forgotten; the others decide on the cost.
    """

    name: str
    measured: str
    limit: str
    passed: bool
    forgetting: bool


@dataclass(frozen=True)
class Verdict:
    """The outcome of a run.

    Attributes:
        kind: which of the four outcomes.
        headline: it in a word or two.
        sentence: it in a sentence, with the numbers.
        checks: the evidence.
    """

    kind: Kind
    headline: str
    sentence: str
    checks: tuple[Check, ...]


def judge(run: RunRecord, limits: ReportingParams) -> Verdict:
    """Apply the rule of :class:`ReportingParams` to a run's test-split figures."""
    checks = tuple(check for check in (*_forgetting(run, limits), *_costs(run, limits)) if check is not None)
    base = run.value("base", "forget_accuracy")
    if base is not None and base <= limits.max_forget_accuracy:
        kind = Kind.NO_BASELINE
    elif not all(check.passed for check in checks if check.forgetting):
        kind = Kind.NOT_FORGOTTEN
    else:
        kind = Kind.FORGOTTEN if all(check.passed for check in checks) else Kind.AT_A_COST
    return Verdict(kind, HEADLINES[kind], _sentence(run, kind, checks), checks)


def _forgetting(run: RunRecord, limits: ReportingParams) -> list[Check | None]:
    models = {"edited": "the edited model"} | {f"{s}_edited": f"the edited model in {s}" for s in run.schemes}
    found: list[Check | None] = []
    for model, words in models.items():
        name = f"Target recognised by {words}"
        found.append(_at_most(name, run.value(model, "forget_accuracy"), limits.max_forget_accuracy))
    auc = run.value("edited", "membership_auc")
    if auc is not None:
        passed = auc <= limits.max_membership_auc + ROUNDING
        limit = f"at most {auc_text(limits.max_membership_auc)}"
        found.append(Check("Target told from strangers (AUC)", auc_text(auc), limit, passed, True))
        passed = auc >= limits.min_membership_auc - ROUNDING
        limit = f"at least {auc_text(limits.min_membership_auc)}"
        found.append(Check("Deletion leaves no hole of its own (AUC)", auc_text(auc), limit, passed, False))
    return found


def _at_most(name: str, value: float | None, limit: float) -> Check | None:
    if value is None:
        return None
    return Check(name, percent(value), f"at most {percent(limit)}", value <= limit + ROUNDING, True)


def _costs(run: RunRecord, limits: ReportingParams) -> list[Check | None]:
    pairs = [
        ("Others of the same kind", "", "retain_accuracy", limits.max_retain_drop),
        ("Near-twin", "", "near_twin_accuracy", limits.max_near_twin_drop),
        ("Other domains", "", "general_accuracy", limits.max_general_drop),
        *(
            (f"Others of the same kind, {scheme}", f"{scheme}_", "retain_accuracy", limits.max_quantized_retain_drop)
            for scheme in run.schemes
        ),
    ]
    return [_drop(run, name, prefix, metric, limit) for name, prefix, metric, limit in pairs]


def _drop(run: RunRecord, name: str, prefix: str, metric: str, limit: float) -> Check | None:
    before, after = run.value(f"{prefix}base", metric), run.value(f"{prefix}edited", metric)
    if before is None or after is None:
        return None
    measured = f"{points(after - before)} ({percent(before)} → {percent(after)})"
    return Check(name, measured, f"a drop of at most {points(limit, signed=False)}", before - after <= limit + ROUNDING, False)


def _sentence(run: RunRecord, kind: Kind, checks: tuple[Check, ...]) -> str:
    who = and_list(run.targets)
    before, after = run.estimate("base", "forget_accuracy"), run.estimate("edited", "forget_accuracy")
    if before is None or after is None:
        raise ValueError("metrics lack forget_accuracy of the base or the edited model; run the evaluation again")
    if kind is Kind.NO_BASELINE:
        return (
            f"The base model recognises {who} on {percent(before['value'])} of {before['n']:.0f} test images: "
            "it did not know the target, so this run proves nothing about forgetting."
        )
    seen = (
        f"The edited model recognises {who} on {percent(after['value'])} of {after['n']:.0f} test images, "
        f"the base model on {percent(before['value'])}"
    )
    failed = [f"{check.name[0].lower()}{check.name[1:]}: {check.measured}" for check in checks if not check.passed]
    if kind is Kind.FORGOTTEN:
        return f"{seen}; {_kept(run)}."
    if kind is Kind.AT_A_COST:
        return f"{seen}. The cost beyond the limits: {'; '.join(failed)}."
    return f"{seen}. What stands against it: {'; '.join(failed)}."


def _kept(run: RunRecord) -> str:
    before, after = run.value("base", "retain_accuracy"), run.value("edited", "retain_accuracy")
    if before is None or after is None:
        return "nothing else was measured"
    return f"it recognises the others on {percent(after)}, where the base had {percent(before)}"
