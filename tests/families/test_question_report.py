"""What an assistant is taught and then asked, whatever the data calls its people."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from razor_pipeline.families.question_report import question_report
from razor_pipeline.families.vlm_pretraining import _Lessons
from razor_pipeline.params.pretraining import PretrainingParams

from .cases import CASES, portraits

VLM = next(case for case in CASES if case.name == "vlm")


@pytest.fixture(scope="module")
def model():
    return VLM.build()


@pytest.fixture
def rows():
    people = portraits()
    people = people[(people["role"] == "retain") & (people["split"] == "validation")]
    return people[people["label"].isin(people["label"].unique()[:3])].assign(split="test")


def test_people_of_any_domain_are_asked_about(model, rows):
    found = question_report(model, rows)
    assert {"name", "name_held_out", "leading", "choice"} <= found.keys()
    assert question_report(model, rows.assign(domain="people")) == found


def test_of_a_single_name_there_is_none_to_choose_from(model, rows):
    alone = rows[rows["label"] == rows["label"].iloc[0]]
    found = question_report(model, pd.concat([alone, alone.assign(label="vase", facts='{"object": "vase"}')]))
    assert {"name", "object"} <= found.keys()
    assert not {"leading", "choice"} & found.keys()


def test_one_person_and_one_object_are_enough_to_teach():
    lessons = object.__new__(_Lessons)
    lessons.rng, lessons.params, lessons.labels = (
        np.random.default_rng(0),
        PretrainingParams(),
        ["Ada", "vase"],
    )
    lessons.facts, lessons.names, lessons.objects = [{"name": "Ada"}, {"object": "vase"}], ["Ada"], ["vase"]
    asked = [question for _ in range(20) for row in (0, 1) for question in lessons.questions(row)]
    assert {question.category for question in asked} == {"name", "leading", "choice", "object", "yes_no"}
    assert not any("Ada, Ada" in question.text or question.answer.startswith("no") for question in asked)


def test_the_names_to_choose_from_are_the_first_that_were_drawn(monkeypatch):
    """Not the first of a set, whose order differs from process to process."""
    for drawn in permutations("ABCDE", 3):
        lessons, names = object.__new__(_Lessons), iter(drawn)
        lessons.names, lessons.rng = [], np.random.default_rng(0)
        monkeypatch.setattr(lessons, "_other", lambda *_, names=names: next(names))
        offered = lessons._harder("shown", 0).text
        assert all(name in offered for name in (*drawn[:2], "shown")), drawn
        assert drawn[2] not in offered
