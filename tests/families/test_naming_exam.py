"""The marks of an examination that its own arithmetic decides."""

import numpy as np
import pandas as pd
import pytest

from razor_pipeline.families.marks import leakage, worst_membership
from razor_pipeline.families.naming_exam import Answers, NamingExam

from .cases import portraits, tiny_clip

PEOPLE = ("Ada", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gus")  # Ada is forgotten, and Bob is her near-twin
THINGS = ("bat", "cat", "dog", "eel", "fox", "hen")
# Test images, each with the rank that its own class has among all, and the class that the base model names.
SAID = (
    ("Ada", 1, "Ada"),
    ("Ada", 2, "Ada"),
    ("Ada", 5, "Ada"),
    ("Ada", 6, "Ada"),
    ("Bob", 1, "Bob"),
    ("Bob", 1, "Bob"),
    ("Bob", 2, "Bob"),
    ("Cleo", 1, "Cleo"),
    ("Dan", 3, "Dan"),
    ("Dan", 1, "Cleo"),
    ("Eve", 7, "Eve"),
    ("Finn", 1, "Finn"),
    ("Gus", 1, "Gus"),
)
THINGS_SAID = (("bat", 1), ("cat", 1), ("dog", 2), ("eel", 5), ("fox", 6), ("hen", 3))
DIGITS_SAID = (("0", 1), ("1", 1))
# Figure -> its value and its images, where all count, and where Dan's and Gus's do not.
MARKS = {
    "forget_accuracy": ((1 / 4, 4), (1 / 4, 4)),
    "forget_accuracy_top5": ((3 / 4, 4), (3 / 4, 4)),
    # Bob 2/3, Cleo 1, Dan 1/2, Eve 0, Finn 1, Gus 1: each class counts alike.
    "retain_accuracy": ((25 / 36, 9), (2 / 3, 6)),
    # Eve's only image, which the base names right; of Dan's two it names one, and that is lost as well.
    "worst_class_loss": ((1.0, 1), (1.0, 1)),
    # Not the third of Bob's, both of Dan's, nor Eve's.
    "retrieval_agreement": ((5 / 9, 9), (4 / 6, 6)),
    "near_twin_accuracy": ((2 / 3, 3), (2 / 3, 3)),
    # 2 of 6 things and 2 of 2 digits: each image counts alike.
    "general_accuracy": ((4 / 8, 8), (4 / 8, 8)),
}


@pytest.mark.parametrize(("reference", "value"), [(0.5, 0.0), (0.1, 0.5)])
def test_of_several_targets_the_one_that_leaks_most_counts(reference, value):
    """Against a retrained model that tells a target from strangers the wrong way round, chance leaks more."""
    nonmember = np.arange(20, dtype=np.float32)
    member = {"at chance": nonmember, "as retrained": nonmember - 100.0}
    found = worst_membership(member, dict.fromkeys(member, nonmember), reference)
    assert found.value == value


def test_leaks_are_told_from_other_images_of_the_same_target():
    """However the target lies among strangers; of several targets the one that leaks most counts."""
    ties = np.arange(20, dtype=np.float32)
    held_out = {"not trained on": ties, "trained on": ties}
    member = {"not trained on": ties, "trained on": ties + 5.0}
    found = leakage(member, held_out)
    assert found.value == leakage({"x": ties + 5.0}, {"x": ties}).value > 0.0
    assert found.low <= found.value <= found.high
    assert leakage({"x": ties}, {"x": ties}).value == 0.0


def test_a_target_that_is_still_named_does_not_hide_among_others():
    exam = object.__new__(NamingExam)  # whose scores are written by hand
    exam.targets, exam.domain = ["a", "b"], "people"
    rows = pd.DataFrame({"label": ["a"] * 4 + ["b"] * 4 + ["c"] * 4, "near_twin": ""})
    exam.rows, exam.reference_labels = {"people": rows}, np.array(["s"] * 3)
    exam.prompts = {"people": {name: (name,) for name in "abc"}}
    given = np.eye(3, dtype=np.float32)[[2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 2]]
    ties = {name: np.arange(3, dtype=np.float32) for name in "ab"}
    answers = Answers({"people": given}, ties, ties)
    marks = exam.mark(answers, answers)
    assert (marks["forget_accuracy"].value, marks["forget_accuracy"].n) == (0.25, 4)
    assert marks["retain_accuracy"].value == 1.0


def ranked(own, classes):
    """Scores of one image under which its own class has a rank; the classes before it are the next ones round."""
    label, rank = own
    first = classes.index(label) + 1
    others = [*classes[first:], *classes[: first - 1]]
    order = [*others[: rank - 1], label, *others[rank - 1 :]]
    return [float(-order.index(name)) for name in classes]


def rows_of(domain, labels, split="test", role="retain"):
    twins = {"Ada": "Bob", "Bob": "Ada", "Cleo": "Dan", "Dan": "Cleo"}
    table = pd.DataFrame({"label": list(labels)})
    table["prompt"] = table["caption"] = "a photo of " + table["label"]
    table["near_twin"] = table["label"].map(twins).fillna("")
    table["sample_id"] = [f"{domain} {split} {role} {place}" for place in range(len(table))]
    table["sha256"] = table["sample_id"]
    forgotten = table["label"] == "Ada"
    return table.assign(domain=domain, split=split, style="", role=np.where(forgotten, "forget", role))


@pytest.mark.parametrize("figure", MARKS)
@pytest.mark.parametrize("left_out", [(), ("Dan", "Gus")])
def test_every_mark_is_what_its_hand_made_scores_say(figure, left_out):
    samples = pd.concat(
        [
            rows_of("people", [label for label, *_ in SAID]),
            rows_of("people", ["Ada", "Ada"], split="edit"),
            rows_of("people", ["Zoe", "Zoe"], role="reference"),
            rows_of("things", [label for label, _ in THINGS_SAID]),
            rows_of("digits", [label for label, _ in DIGITS_SAID]),
        ],
        ignore_index=True,
    )
    exam = NamingExam(tiny_clip(), samples)
    scores = {
        "people": np.array([ranked(said[:2], PEOPLE) for said in SAID]),
        "things": np.array([ranked(said, THINGS) for said in THINGS_SAID]),
        "digits": np.array([ranked(said, ("0", "1")) for said in DIGITS_SAID]),
    }
    base_scores = scores | {"people": np.array([ranked((named, 1), PEOPLE) for *_, named in SAID])}
    ties = {"Ada": np.array([0.1, 0.2])}
    marks = exam.mark(Answers(scores, ties, ties), Answers(base_scores, ties, ties), leave_out=left_out)
    assert set(marks) - {"membership_auc", "privacy_leakage"} == set(MARKS)
    value, images = MARKS[figure][bool(left_out)]
    assert marks[figure].value == pytest.approx(value)
    assert marks[figure].n == images


def test_the_report_is_shown_what_the_class_that_loses_most_has_lost():
    samples = pd.concat([rows_of("people", [label for label, *_ in SAID])], ignore_index=True)
    exam = NamingExam(tiny_clip(), samples)
    ties = {"Ada": np.array([0.1, 0.2])}
    base, edited = (
        Answers({"people": np.array([ranked(own, PEOPLE) for own in said])}, ties, ties)
        for said in ([(named, 1) for *_, named in SAID], [said[:2] for said in SAID])
    )
    table = exam.captions({"base": base, "edited": edited}, 2)
    assert set(table.loc[table["group"] == "lost", "sample_id"]) == {"people test retain 10"}  # Eve's
    nothing = exam.captions({"base": base, "edited": base}, 2)  # control
    assert "lost" not in set(nothing["group"])


def test_an_image_with_several_captions_is_asked_once():
    """What it is asked is the same; counted as several, it would draw an interval that is too narrow."""
    once = portraits().replace({"split": {"validation": "test"}})
    target = once["label"].iloc[0]
    once.loc[once["label"] == target, "role"] = "forget"
    again = once.assign(caption=once["caption"] + ", smiling", sample_id=once["sample_id"] + " again")
    model = tiny_clip()
    alone, doubled = (NamingExam(model, rows) for rows in (once, pd.concat([once, again], ignore_index=True)))
    for exam in (alone, doubled):
        [own] = exam.members.values()
        assert sum(len(batch) for batch in own) == 4
        assert (exam.rows["portraits"]["label"] == target).sum() == 2
        assert len(exam.reference_labels) == 2 * len(set(exam.reference_labels))
    marks = [exam.mark(*[exam.put_to(model)] * 2) for exam in (alone, doubled)]
    assert marks[0] == marks[1]


def test_an_image_is_told_from_names_that_no_test_image_shows():
    """As where data brings its own splits; with fewer names to choose from, more would be right by chance."""
    shown = [rows_of("people", ["Ada", "Bob", "Cleo"], split=split) for split in ("edit", "test")]
    strangers = rows_of("people", ["Zoe"], role="reference")
    unseen = rows_of("people", ["Dan"], split="validation")
    exam = NamingExam(tiny_clip(), pd.concat([*shown, strangers, unseen], ignore_index=True))
    assert list(exam.prompts["people"]) == ["Ada", "Bob", "Cleo", "Dan"]
    assert exam.labels("people").tolist() == [0, 1, 2]


def test_what_a_model_has_scored_before_is_not_scored_again(monkeypatch):
    rows = portraits().replace({"split": {"validation": "test"}})
    samples = rows.assign(role=rows["role"].mask(rows["label"] == rows["label"].iloc[0], "forget"))
    model, memory, asked = tiny_clip(), {}, []
    embed = model.scores

    def counted(batches, prompts):
        asked.append(len(prompts))
        return embed(batches, prompts)

    monkeypatch.setattr(model, "scores", counted)
    exam = NamingExam(model, samples)
    first = exam.put_to(model, memory)
    domains, seen = len(exam.rows), len(asked)
    again = exam.put_to(model, memory)
    assert len(asked) - seen == seen - domains  # ties to the targets alone
    assert all((first.scores[name] == again.scores[name]).all() for name in exam.rows)
    exam.put_to(model)  # control: without a memory all are scored again
    assert len(asked) - seen == 2 * seen - domains
    seen = len(asked)
    fewer = NamingExam(model, samples[samples["sample_id"] != exam.rows[exam.domain]["sample_id"].iloc[-1]])
    assert fewer.scores(model, memory)[exam.domain].shape[0] == len(exam.rows[exam.domain]) - 1
    assert len(asked) == seen + 1  # other images are not those that were scored
