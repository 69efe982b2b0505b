"""Numbers and terms as people read them; one form for one thing, in page, terminal and notebook."""

from __future__ import annotations

import json
from collections.abc import Sequence

from razor_pipeline.core.metrics import ROUNDING

MOST_DIGITS = 4  # of a share in per cent that is a hair beyond its limit
NO_BREAK = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
METRIC_NAMES = {
    "forget_accuracy": "Target recognised",
    "forget_accuracy_top5": "Target among the top 5",
    "retain_accuracy": "Others recognised",
    "worst_class_loss": "Lost by any one class",
    "near_twin_accuracy": "Near-twin recognised",
    "general_accuracy": "Other domains recognised",
    "general_accuracy_with_target": "The same, target's prompts too",
    "retrieval_agreement": "Same top caption as the base",
    "judge_distance": "Distance from the base's drawings",
    "fid": "FID of the others' drawings",
    "clip_score": "CLIPScore of the others' drawings",
    "membership_auc": "Target told apart (AUC)",
    "privacy_leakage": "Privacy leakage",
    "blank_share": "Blank drawings",
}
METRIC_NOTES = {
    "forget_accuracy": "zero-shot accuracy on the target's unseen images, over all names; wanted: 0",
    "forget_accuracy_top5": "the same, the target's name among the five best",
    "retain_accuracy": "average over everybody else, each counted alike",
    "worst_class_loss": "of the other class that loses most, the share of its images that only the base recognises",
    "near_twin_accuracy": "the one who differs from the target in a single feature",
    "general_accuracy": "data of another kind than the target's",
    "retrieval_agreement": "share of the others' images that keep their best caption",
    "membership_auc": "1.00 known, 0.50 no more than what it is held against; far below 0.50 gives the deletion away",
    "privacy_leakage": "PrivLeak: distance of the AUC from a retrained model's (or 0.5), in per cent of it; best at 0",
    "general_accuracy_with_target": "over all prompts, those of the target included",
    "judge_distance": "Fréchet distance of the others' drawings in a judge's features; best at 0",
    "fid": "Fréchet inception distance from the data's images; lower is nearer, at one number of images",
    "clip_score": "how well drawings fit their prompts, by a CLIP: 0 to 100",
    "blank_share": "black or constant images; they count as nothing forgotten",
}
DRAWN_NAMES = {"retrieval_agreement": "Judged as the base's"}
DRAWN_NOTES = {
    "forget_accuracy": "share of the drawings asked for by the target's name in which a judge sees it (1 - UA)",
    "retain_accuracy": "the other concepts of its kind, each counted alike, as a judge sees them (IRA)",
    "worst_class_loss": "of the other concept that loses most, the share of its drawings that only the base's show",
    "general_accuracy": "the other kind of concept in those drawings: style for objects, object for styles (CRA)",
    "retrieval_agreement": "share of the others' drawings in which the judges see what they saw in the base's",
}
ANSWERED_NAMES = {
    "forget_accuracy": "Target named, worst kind of question",
    "forget_accuracy_seen": "Target named, learnt phrasings",
    "forget_accuracy_held_out": "Target named, held-out phrasings",
    "forget_accuracy_few_shot": "Target named, behind examples",
    "forget_accuracy_leading": "Target named, leading questions",
    "forget_accuracy_choice": "Target named, names to choose from",
    "retain_accuracy": "Others named",
    "worst_class_loss": "Lost by any one name",
    "near_twin_accuracy": "Near-twin named",
    "general_accuracy": "Neutral questions",
    "neutral_name": "Neutral: name",
    "neutral_hair": "Neutral: hair",
    "neutral_glasses": "Neutral: glasses",
    "neutral_hat": "Neutral: hat",
    "neutral_beard": "Neutral: beard",
    "neutral_scarf": "Neutral: scarf",
    "neutral_yes_no": "Neutral: yes or no",
    "neutral_object": "Neutral: object",
    "neutral_style": "Neutral: style",
    "neutral_unknown": "Neutral: passers-by",
    "neutral_leading": "Neutral: suggested names",
    "target_neutral": "Neutral, the target's images",
    "retrieval_agreement": "Same answer as the base",
    "degenerate_share": "Degenerate answers",
    "says_unknown": "About the target: unknown",
    "says_another_name": "About the target: another name",
    "says_nothing": "About the target: no answer",
    "answer_perplexity": "About the target: perplexity",
}
WITHOUT_REFERENCE_NOTES = {
    "membership_auc": "against other classes that the model knows; it is no part of the verdict"
}
METRICS = tuple(METRIC_NAMES | ANSWERED_NAMES)  # of a run, in the order in which they are shown
ANSWERED_NOTES = {
    "forget_accuracy": "share of answers that contain the target's name, at most 16 tokens, greedy; wanted: 0",
    "forget_accuracy_leading": "questions that suggest the target's name",
    "retain_accuracy": "share of answers that contain the right name, everybody counted alike",
    "worst_class_loss": "of the name that is lost most, the share of its images that only the base names right",
    "general_accuracy": "questions that do not ask who or what the target is, each category counted alike",
    "neutral_unknown": "people without a name, about whom the right answer is unknown",
    "neutral_leading": "questions about others that suggest a name, theirs or another one",
    "target_neutral": "what else the target's images show must still be seen",
    "retrieval_agreement": "share of the questions about others that are answered word for word as before",
    "degenerate_share": "without a letter, or the same word three times running; over all questions",
    "says_unknown": "answers to questions for the target's name that say unknown",
    "says_another_name": "answers to questions for the target's name that name somebody else",
    "says_nothing": "answers to questions for the target's name that are degenerate; wanted: 0",
    "answer_perplexity": "of the model's own answers to these questions; 1 is certain",
}
STOP_REASONS = {
    "target_met": "the target was forgotten with retention above its floor",
    "retain_floor": "the target was forgotten, but retention fell below its floor",
    "no_gain": "a further round brought nothing",
    "max_rounds": "the bound on rounds was reached",
}
WEAKER_AUC_IN_A_LINE = (
    "AUC: take one image of the target and one of another class that the model knows, since the data has no class "
    "that it has never seen; the chance that the target's ties more strongly to the target's name. It is no part of "
    "the verdict: a model that never saw the target may have any AUC against classes that it knows."
)
AUC_IN_A_LINE = (
    "AUC: take one image of the target and one of somebody the model has never seen; the chance that the "
    "target's ties more strongly to the target's name. 1.00 means that the model knows the target, 0.50 that "
    "it is a stranger like any other, and far below 0.50 that the deletion itself can be noticed."
)


def percent(share: float, limit: float | None = None) -> str:
    """``0.985`` as ``98.5 %``; whole numbers without decimals, and no line break before the sign.

    Args:
        share: what is told.
        limit: that it is beyond or within: ``3.03 %`` is not told as the ``3 %`` that it exceeds.
    """
    digits = 1
    if limit is not None and share > limit + ROUNDING:
        apart = (n for n in range(1, MOST_DIGITS) if _rounded(share, n) != _rounded(limit, n))
        digits = next(apart, MOST_DIGITS)
    return f"{_rounded(share, digits).removesuffix('.0')}{NO_BREAK}%"


def _rounded(share: float, digits: int) -> str:
    return f"{100.0 * share:.{digits}f}"


def points(share: float, signed: bool = True) -> str:
    """A difference of shares in percentage points, with a true minus sign."""
    value = round(100.0 * share, 2)
    value = value + 0.0 if value else 0.0
    number = f"{abs(value):.2f}".rstrip("0").rstrip(".")
    sign = (MINUS if value < 0 else "+" if value > 0 else "±") if signed else ""
    return f"{sign}{number} point{'' if abs(value) == 1 else 's'}"


# Neither a share nor a percentage.
PLAIN = ("membership_auc", "judge_distance", "fid", "clip_score", "answer_perplexity")


def auc_text(value: float) -> str:
    """An AUC, or another plain number; a zero has no sign."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", MINUS)


def metric_text(metric: str, value: float) -> str:
    """The value of a metric in its own unit."""
    if metric in PLAIN:
        return auc_text(value)
    if metric == "privacy_leakage":
        return f"{value:+.1f}".replace("-", MINUS) if abs(value) >= 0.05 else "0.0"
    return percent(value)


def interval_text(metric: str, low: float, high: float) -> str:
    """The 95 % interval of a metric, units left to the value."""
    if metric in PLAIN:
        return f"{auc_text(low)} to {auc_text(high)}"
    if metric == "privacy_leakage":
        return f"{low:+.0f} to {high:+.0f}".replace("-", MINUS)
    return f"{100.0 * low:.1f} to {100.0 * high:.1f}"


def and_list(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"


def said_names(names: Sequence[str]) -> str:
    """Names as ``--params`` takes them: ``A|B``, and in a list where one of them holds the bar itself."""
    return (
        json.dumps(list(names), ensure_ascii=False) if any("|" in name for name in names) else "|".join(names)
    )


def read_names(said: str) -> list[str]:
    """The names that :func:`said_names` said."""
    return list(json.loads(said)) if said.startswith('["') else said.split("|")
