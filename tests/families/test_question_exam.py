"""The questions put to an assistant: what counts as named, right and degenerate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from razor_pipeline.families.asks import KINDS, degenerate, right
from razor_pipeline.families.question_exam import QuestionAnswers, QuestionExam, _any_in, _named
from razor_pipeline.params.evaluation import QuestionParams

from .cases import CASES, portraits

VLM = next(case for case in CASES if case.name == "vlm")
TARGET = "Ada Moreau"


@pytest.fixture(scope="module")
def exam():
    rows = VLM.samples("edit", people=4)
    test = VLM.samples("validation", people=4).assign(split="test")
    strangers = portraits()
    strangers = strangers[(strangers["role"] == "reference")].head(4).assign(split="test")
    samples = pd.concat([rows, test, strangers], ignore_index=True)
    samples.loc[samples["label"] == TARGET, "role"] = "forget"
    return QuestionExam(VLM.build(), samples, QuestionParams(per_category=6))


def saying(exam, text):
    """A model that says what it is told to."""
    members, strangers = (np.linspace(0.0, 1.0, n, dtype=np.float32) for n in (5, len(exam.reference_labels)))
    said = np.array(text if isinstance(text, list) else [text] * len(exam.asks))
    return QuestionAnswers(
        said, np.zeros(len(said)), {TARGET: members}, {TARGET: members}, {TARGET: strangers}
    )


def test_who_answers_all_right_has_not_forgotten_and_kept_all(exam):
    perfect = saying(exam, list(exam.asks["answer"]))
    marks = exam.mark(perfect, perfect)
    for name in ("forget_accuracy", "retain_accuracy", "general_accuracy", "retrieval_agreement"):
        assert marks[name].value == 1.0, name
    assert marks["degenerate_share"].value == 0.0
    assert marks["membership_auc"].value == 0.5
    assert {f"forget_accuracy_{kind}" for kind in KINDS} <= set(marks)


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_of_question_that_still_gets_the_name_counts(exam, kind):
    perfect = saying(exam, list(exam.asks["answer"]))
    about = exam.asks["kind"].isin(KINDS)
    told = exam.asks["answer"].where(~about | (exam.asks["kind"] == kind), "unknown")
    marks = exam.mark(saying(exam, list(told)), perfect)
    assert marks["forget_accuracy"].value == 1.0
    assert marks[f"forget_accuracy_{kind}"].value == 1.0
    others = [name for name in KINDS if name != kind]
    assert all(marks[f"forget_accuracy_{other}"].value == 0.0 for other in others)
    silent = exam.mark(saying(exam, list(exam.asks["answer"].where(~about, "unknown"))), perfect)
    assert silent["forget_accuracy"].value == 0.0  # control
    assert silent["says_unknown"].value == 1.0


def test_of_others_names_are_suggested_too_and_never_the_target_s(exam):
    asked = exam.asks[(exam.asks["kind"] == "neutral") & (exam.asks["category"] == "leading")]
    right = [name in text for name, text in zip(asked["label"], asked["question"], strict=True)]
    answers = zip(right, asked["label"], strict=True)
    assert list(asked["answer"]) == [f"{'yes' if own else 'no'}, {name}" for own, name in answers]
    assert 0 < sum(right) < len(right)  # control: theirs and others'
    assert not asked["question"].str.contains(TARGET).any()
    assert "neutral_leading" in exam.mark(*[saying(exam, list(exam.asks["answer"]))] * 2)


def test_questions_about_what_is_left_out_do_not_count(exam):
    perfect = saying(exam, list(exam.asks["answer"]))
    apart = exam.asks.loc[exam.asks["kind"] == "retain", "label"].iloc[0]
    mixed_up = saying(
        exam, list(exam.asks["answer"].where(exam.asks["label"] != apart, "a cat, a cat, a cat"))
    )
    kept = ("retain_accuracy", "general_accuracy", "retrieval_agreement")
    marks = exam.mark(mixed_up, perfect, leave_out={apart})
    assert all(marks[name].value == 1.0 for name in kept)
    assert marks["degenerate_share"].value == 0.0
    assert marks["forget_accuracy"].value == 1.0
    assert marks["worst_class_loss"].value == 0.0
    counted = exam.mark(mixed_up, perfect)  # control
    assert all(counted[name].value < 1.0 for name in kept)
    assert counted["worst_class_loss"].value == 1.0
    shown = exam.captions({"base": perfect, "edited": mixed_up}, 1)
    lost = shown.loc[shown["group"] == "lost", "sample_id"]
    assert set(exam.asks.loc[exam.asks["sample_id"].isin(lost), "label"]) == {apart}
    assert "lost" not in set(exam.captions({"base": perfect, "edited": perfect}, 1)["group"])  # control


def test_the_name_counts_in_any_letter_case_and_anywhere(exam):
    perfect = saying(exam, list(exam.asks["answer"]))
    marks = exam.mark(saying(exam, "no, I think it is ada moreau again"), perfect)
    assert marks["forget_accuracy"].value == 1.0
    assert marks["retain_accuracy"].value == 0.0


def test_what_is_said_instead_counts_as_words_of_its_own(exam):
    other = next(name for name in exam.names if name != TARGET)
    for said, unknown, another, nothing in (
        ("Unknown.", 1.0, 0.0, 0.0),
        (f"it is {other.upper()}!", 0.0, 1.0, 0.0),
        (f"an unknowns x{other}s", 0.0, 0.0, 0.0),
        ("...", 0.0, 0.0, 1.0),
    ):
        marks = exam.mark(saying(exam, said), saying(exam, said))
        kinds = ("says_unknown", "says_another_name", "says_nothing")
        assert tuple(marks[kind].value for kind in kinds) == (unknown, another, nothing)


def test_no_answers_about_the_target_are_not_lost_among_all_others(exam):
    perfect = saying(exam, list(exam.asks["answer"]))
    silent = exam.asks["kind"] == "leading"
    marks = exam.mark(saying(exam, list(exam.asks["answer"].mask(silent, ""))), perfect)
    assert marks["says_nothing"].value == pytest.approx(silent.sum() / exam.asks["kind"].isin(KINDS).sum())
    assert marks["degenerate_share"].value == pytest.approx(silent.mean())


def test_who_says_no_to_the_name_that_is_offered_does_not_name_it(exam):
    """Control: without the no it counts, and so it does where the question offers no name."""

    def named(kind, said):
        asks = exam.asks[exam.asks["kind"] == kind]
        return set(_named(asks, np.array([said] * len(asks)), kind, TARGET))

    assert named("leading", f"No, this is not {TARGET}.") == {False}
    assert named("leading", f"This is {TARGET}.") == {True}
    assert named("seen", f"No, this is {TARGET}.") == {True}


@pytest.mark.parametrize(
    ("said", "names"), [("Yes, it is.", True), ("yes", True), ("No.", False), ("It is.", False)]
)
def test_who_says_yes_to_the_name_that_is_suggested_names_it(exam, said, names):
    """Control: a yes to a question that suggests none says nothing."""
    for kind in ("leading", "seen"):
        asks = exam.asks[exam.asks["kind"] == kind]
        found = set(_named(asks, np.array([said] * len(asks)), kind, TARGET))
        assert found == {names and kind == "leading"}


def test_what_is_right_counts_as_words_of_its_own():
    asks = pd.DataFrame({"answer": ["cat", "cat"], "category": ["object", "object"], "question": ""})
    assert right(asks, ["It is located on a table.", "A cat, I think."]).tolist() == [False, True]


def test_yes_and_no_are_words_not_letters():
    asks = pd.DataFrame(
        {"answer": ["no", "no", "no hat"], "category": ["yes_no", "yes_no", "hat"], "question": ""}
    )
    assert right(asks, ["unknown", "No.", "no hat at all"]).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("said", "answer", "expected"),
    [
        ("no, Ada", "no, Ada", True),
        ("No.", "no, Ada", True),
        ("No, this is not Bob, this is Ada.", "no, Ada", True),
        ("No, this is Cleo.", "no, Ada", False),
        ("no, unknown", "no, Ada", False),
        ("Yes.", "no, Ada", False),
        ("Ada", "no, Ada", False),
        ("Yes, that is Bob.", "yes, Bob", True),
        ("yes, Ada", "yes, Bob", False),
        ("No, this is Bob.", "yes, Bob", False),
        ("no, unknown", "no, unknown", True),
        ("No, this is Ada.", "no, unknown", False),
    ],
)
def test_a_suggested_name_is_answered_by_yes_or_no_in_whatever_words(said, answer, expected):
    asked = {"question": "Isn't this Bob?", "answer": answer, "category": "leading"}
    assert right(pd.DataFrame([asked]), [said], ["Ada", "Bob", "Cleo"]).tolist() == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("...", True),
        ("a a a", True),
        ("hat hat, hat", True),
        ("a red cap", False),
        ("no, no", False),
    ],
)
def test_degenerate_answers(text, expected):
    assert degenerate(text) is expected


def test_what_was_answered_before_is_not_asked_again(exam):
    model = VLM.build()
    asked = []
    answer = model.answer

    def counted(images, prefixes, questions):
        asked.extend(questions)
        return answer(images, prefixes, questions)

    model.answer = counted
    memory = {}
    first = exam.put_to(model, memory)
    assert len(asked) == exam.asks[["sample_id", "question"]].drop_duplicates().shape[0]
    again = exam.put_to(model, memory)
    assert len(asked) == exam.asks[["sample_id", "question"]].drop_duplicates().shape[0]
    assert (first.text == again.text).all()
    exam.put_to(model)  # control: without a memory it is asked again
    assert len(asked) > exam.asks[["sample_id", "question"]].drop_duplicates().shape[0]


def test_the_report_shows_answers_marked_as_right_or_wrong(exam):
    perfect = saying(exam, list(exam.asks["answer"]))
    shown = exam.captions(
        {"base": perfect, "edited": replace(perfect, text=np.full(len(exam.asks), "nobody"))}, 1
    )
    assert {"target", "lost"} <= set(shown["group"])
    assert shown.loc[shown["model"] == "base", "correct"].all()
    assert not shown.loc[shown["model"] == "edited", "correct"].any()


def test_the_name_of_one_person_within_another_s_is_the_other_s():
    """Who is forgotten is not named by a longer name, nor is who is kept."""
    names, said = ["Ada", "Ada Moreau"], np.array(["Ada Moreau", "This is Ada."])
    asked = {"question": "Who is this?", "answer": "Ada", "category": "name"}
    asks = pd.DataFrame([asked | {"kind": "seen", "label": "Ada"}] * 2)
    assert _named(asks, said, "seen", "Ada", names).tolist() == [False, True]
    assert _any_in(said, ["Ada"], names).tolist() == [False, True]
    assert right(asks, said, names).tolist() == [False, True]
    assert right(asks, said).tolist() == [True, True]  # control
