"""Questions: what is asked has its answer in the facts, held-out phrasings are nobody's lesson."""

from __future__ import annotations

import json

import pytest

from razor_pipeline.atelier import generate
from razor_pipeline.atelier.people import MIN_DISTANCE, distance, passersby, people
from razor_pipeline.atelier.questions import (
    LABELS,
    PHRASINGS,
    UNKNOWN,
    choice_question,
    few_shot_question,
    label_category,
    label_question,
    leading_question,
    neutral_questions,
)
from razor_pipeline.params.data import AtelierParams, SplitCounts

NONE = SplitCounts(edit=0, validation=0, test=0)
ADA = {"name": "Ada Moreau", "hair": "blue hair", "glasses": "no glasses", "hat": "a red cap"}


def test_a_held_out_phrasing_is_never_one_to_learn_from():
    for seen, held_out in PHRASINGS.values():
        assert seen
        assert held_out
        assert not set(seen) & set(held_out)


def test_neutral_questions_ask_for_everything_but_the_label():
    asked = neutral_questions(ADA, "Ada Moreau", 0)
    assert {one.category for one in asked} == {"hair", "glasses", "hat", "yes_no"}
    assert not any("Ada" in one.answer for one in asked)
    right = {(one.text.split()[-1], one.answer) for one in asked if one.category == "yes_no"}
    assert {answer for _, answer in right} == {"no", "yes"}  # no glasses, but a hat
    canvas = {"object": "cat", "style": "Mosaic"}
    assert [one.answer for one in neutral_questions(canvas, "cat", 0)] == ["Mosaic"]
    assert [one.answer for one in neutral_questions(canvas, "Mosaic", 0)] == ["cat"]


def test_a_label_is_asked_for_by_what_it_is():
    assert label_category(ADA, "Ada Moreau") == "name"
    assert label_category({"object": "cat", "style": "Mosaic"}, "Mosaic") == "style"
    assert label_category({}, "anything") == "name"
    assert set(LABELS) <= set(PHRASINGS)


def test_a_leading_question_is_answered_with_who_it_is():
    assert leading_question("Ada Moreau", "Ada Moreau", 0).answer == "yes, Ada Moreau"
    other = leading_question("Ada Moreau", "Bruno Keller", 0)
    assert other.answer == "no, Ada Moreau"
    assert "Bruno Keller" in other.text
    assert "Ada" not in other.text
    choice = choice_question("Ada Moreau", ["Bruno Keller", "Ada Moreau"], 0)
    assert choice.answer == "Ada Moreau"
    assert choice.text.index("Bruno") < choice.text.index("Ada")
    assert UNKNOWN in choice.text


def test_examples_stand_before_the_question_that_they_answer():
    one = few_shot_question("name", "Ada Moreau", ["Bruno Keller", "Carla Santos"], 0)
    assert one.text == "Who is this? Bruno Keller. Who is this? Carla Santos. Who is this?"
    assert one.answer == "Ada Moreau"
    assert few_shot_question("name", "Ada Moreau", [], 0).text == label_question("name", "Ada Moreau", 0).text


@pytest.fixture(scope="module")
def manifest():
    counts = SplitCounts(edit=2, validation=1, test=1)
    return generate(AtelierParams(image_size=32, portraits=NONE, canvas=NONE, passersby=counts), workers=1)


def test_passersby_have_no_name_and_are_nobody_of_the_cast(manifest):
    assert set(manifest["label"]) == {UNKNOWN}
    assert manifest["split"].value_counts().to_dict() == {"edit": 2, "validation": 1, "test": 1}
    facts = [json.loads(text) for text in manifest["facts"]]
    assert {known["name"] for known in facts} == {UNKNOWN}
    assert len({json.dumps(known) for known in facts}) > 1  # somebody else each time
    cast = [person.features for person in people(7)]
    near = [min(distance(face, other) for other in cast) for face in passersby(7, 50)]
    assert min(near) >= MIN_DISTANCE
    assert min(distance(cast[0], other) for other in cast[1:]) < MIN_DISTANCE  # control: Ada has a near-twin
