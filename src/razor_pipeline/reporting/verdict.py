"""The verdict: one word, one sentence, and the checks behind it, each with its number and its limit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from razor_pipeline.core.metrics import ROUNDING
from razor_pipeline.manifest import NO_REFERENCE
from razor_pipeline.params.evaluation import ReportingParams
from razor_pipeline.reporting.record import RunRecord
from razor_pipeline.reporting.wording import and_list, auc_text, percent, points


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
        finding: a failure as a clause of the verdict's sentence; empty where the sentence says it anyway.
    """

    name: str
    measured: str
    limit: str
    passed: bool
    forgetting: bool
    finding: str


@dataclass(frozen=True)
class Verdict:
    """The outcome of a run.

    Attributes:
        kind: which of the four outcomes.
        headline: it in a word or two.
        sentence: it in a sentence, with the numbers.
        checks: the evidence.
        unchecked: what nothing in the data could show, in sentences; empty where there is no such thing.
    """

    kind: Kind
    headline: str
    sentence: str
    checks: tuple[Check, ...]
    unchecked: str = ""


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
    told_from_known = run.value("edited", "membership_auc") is not None and not run.has_reference
    unchecked = [NO_REFERENCE] if told_from_known and kind is not Kind.NO_BASELINE else []
    told = " ".join([*unchecked, *_unseen(run, limits)])
    return Verdict(kind, HEADLINES[kind], _sentence(run, kind, checks), checks, told)


def _unseen(run: RunRecord, limits: ReportingParams) -> list[str]:
    """What an edit may have cost without being seen: drawings in which no judge saw what was asked for before it."""
    if not run.draws:
        return []
    asked = (("retain_accuracy", "Others"), ("general_accuracy", "Other domains"))
    seen = {what: run.value("base", metric) for metric, what in asked}
    return [
        f"{what}: the judge sees what was asked for in {percent(value)} of the unedited model's drawings, at least "
        f"{percent(limits.min_judged)} is wanted; of the rest no loss can be seen. Train that judge for longer or on "
        "more images, or draw more steps (evaluation.drawing.steps)."
        for what, value in seen.items()
        if value is not None and value < limits.min_judged - ROUNDING
    ]


def _forgetting(run: RunRecord, limits: ReportingParams) -> list[Check | None]:
    models = [("edited", "Target recognised", "")]
    models += [
        (f"{scheme}_edited", f"Target recognised, {scheme}", f"in {scheme} it recognises")
        for scheme in run.schemes
    ]
    found = [_recognised(run, model, name, finding, limits) for model, name, finding in models]
    auc = run.value("edited", "membership_auc")
    # Against known classes no AUC is wrong: a model that never saw the target has any.
    if auc is None or not run.has_reference:
        return found
    text = auc_text(auc)
    most, least = limits.max_membership_auc, limits.min_membership_auc
    known = f"it still ties the target's images to the name more than strangers' (AUC {text})"
    hole = f"the target's images look less familiar than strangers' (AUC {text}): the deletion shows"
    return [
        *found,
        Check(
            "Target told from strangers",
            f"AUC {text}",
            f"at most {auc_text(most)}",
            auc <= most + ROUNDING,
            True,
            known,
        ),
        Check(
            "Deletion not noticeable",
            f"AUC {text}",
            f"at least {auc_text(least)}",
            auc >= least - ROUNDING,
            False,
            hole,
        ),
    ]


def _recognised(run: RunRecord, model: str, name: str, finding: str, limits: ReportingParams) -> Check | None:
    value, limit = run.value(model, "forget_accuracy"), limits.max_forget_accuracy
    if value is None:
        return None
    clause = f"{finding} the target on {percent(value, limit)}" if finding else ""
    return Check(
        name, percent(value, limit), f"at most {percent(limit)}", value <= limit + ROUNDING, True, clause
    )


def _costs(run: RunRecord, limits: ReportingParams) -> list[Check | None]:
    verb, act = ("named", "naming") if run.answers else ("recognised", "recognition")
    others, beyond = f"Others {verb}", ("Other domains recognised", "recognition of other domains")
    if run.answers:
        beyond = ("Neutral questions answered", "right answers to neutral questions")
    quantized = limits.max_quantized_retain_drop
    pairs = [
        (others, f"{act} of others", "", "retain_accuracy", limits.max_retain_drop),
        (
            f"The near-twin {verb}",
            f"{act} of the near-twin",
            "",
            "near_twin_accuracy",
            limits.max_near_twin_drop,
        ),
        (*beyond, "", "general_accuracy", limits.max_general_drop),
        *(
            (
                f"{others}, {scheme}",
                f"{act} of others in {scheme}",
                f"{scheme}_",
                "retain_accuracy",
                quantized,
            )
            for scheme in run.schemes
        ),
    ]
    drops = [_drop(run, *pair) for pair in pairs]
    return [*drops, _lost(run, limits), _blank(run, limits), _degenerate(run, limits)]


def _lost(run: RunRecord, limits: ReportingParams) -> Check | None:
    """Of one class; its images are few, so that what is lost beyond doubt counts."""
    found, limit = run.estimate("edited", "worst_class_loss"), limits.max_class_loss
    if found is None:
        return None
    lost = f"{percent(found['value'])} of {found['n']} images"
    if found["value"] > 0.0:
        lost = f"{_lost_most(run)}, {lost}, {percent(found['low'])} beyond doubt"
    seen = "drawn" if run.draws else "named" if run.answers else "recognised"
    finding = f"{_lost_most(run)} is {seen} no more on {percent(found['value'])} of {found['n']} images"
    passed = found["low"] <= limit + ROUNDING
    return Check(
        "Lost by any one class", lost, f"at most {percent(limit)} beyond doubt", passed, False, finding
    )


def _lost_most(run: RunRecord) -> str:
    """Whose lost images the report shows; those of a near-twin may all stand in its own row."""
    shown = run.predictions[run.predictions["group"] == "lost"]
    shown = shown if run.draws else run.samples[run.samples["sample_id"].isin(shown["sample_id"])]
    labels = shown["label"]
    return "the near-twin" if labels.empty else str(labels.iloc[0])


def _blank(run: RunRecord, limits: ReportingParams) -> Check | None:
    value, limit = run.value("edited", "blank_share"), limits.max_blank_share
    if value is None:
        return None
    finding = f"{percent(value, limit)} of its drawings are blank"
    return Check(
        "Drawings blank", percent(value, limit), f"at most {percent(limit)}", value <= limit, False, finding
    )


def _degenerate(run: RunRecord, limits: ReportingParams) -> Check | None:
    before, after = run.value("base", "degenerate_share"), run.value("edited", "degenerate_share")
    if before is None or after is None:
        return None
    limit = limits.max_degenerate_rise
    finding = f"{percent(after)} of its answers are degenerate"
    passed = after - before <= limit + ROUNDING
    most = f"at most {points(limit, signed=False)} more"
    return Check("Answers degenerate", f"{percent(before)} → {percent(after)}", most, passed, False, finding)


def _drop(run: RunRecord, name: str, what: str, prefix: str, metric: str, limit: float) -> Check | None:
    before, after = run.value(f"{prefix}base", metric), run.value(f"{prefix}edited", metric)
    if before is None or after is None:
        return None
    measured = f"{points(after - before)} ({percent(before)} → {percent(after)})"
    finding = f"{what} fell from {percent(before)} to {percent(after)}"
    passed = before - after <= limit + ROUNDING
    return Check(name, measured, f"drop of at most {points(limit, signed=False)}", passed, False, finding)


def _sentence(run: RunRecord, kind: Kind, checks: tuple[Check, ...]) -> str:
    who = f"{'the best known of ' if len(run.targets) > 1 else ''}{and_list(run.targets)}"
    before, after = run.estimate("base", "forget_accuracy"), run.estimate("edited", "forget_accuracy")
    if before is None or after is None:
        raise ValueError(
            "metrics lack forget_accuracy of the base or the edited model; run the evaluation again"
        )
    kind_of_image = "drawing" if run.draws else "answer" if run.answers else "test image"
    images = f"{after['n']:.0f} {kind_of_image}{'' if after['n'] == 1 else 's'}"
    recognises = "shows" if run.draws else "names" if run.answers else "recognises"
    if kind is Kind.NO_BASELINE:
        return (
            f"The base model {recognises} {who} on {percent(before['value'])} of {images}: "
            "it did not know the target, so this run proves nothing about forgetting."
        )
    still = "still " if kind is Kind.NOT_FORGOTTEN and after["value"] > 0.0 else ""
    seen = f"The edited model {still}{recognises} {who} on {percent(after['value'])} of {images}"
    seen += f" (base model: {percent(before['value'])})"
    if kind is Kind.FORGOTTEN:
        return f"{seen}, and {_kept(run)}."
    known, costs = (
        _findings([check for check in checks if check.forgetting is forgetting and not check.passed])
        for forgetting in (True, False)
    )
    cost = f". What it cost beyond the limits: {'; '.join(costs)}" if costs else ""
    return f"{'; '.join([seen, *known])}{cost}."


def _findings(failed: list[Check]) -> list[str]:
    """Clauses of the failed checks; that of a quantized model only where the unquantized one passed."""
    names = {check.name for check in failed}
    telling = [check for check in failed if "," not in check.name or check.name.split(",")[0] not in names]
    return [check.finding for check in telling if check.finding]


def _kept(run: RunRecord) -> str:
    before, after = run.value("base", "retain_accuracy"), run.value("edited", "retain_accuracy")
    if before is None or after is None:
        return "nothing else was measured"
    return f"the others on {percent(after)} (base model: {percent(before)})"
