"""A line of assistants: the same requests, examined in words."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from razor_pipeline.datasets.pretrained import PretrainedDataset
from razor_pipeline.families.vlm import VlmFamily
from razor_pipeline.manifest import captioned
from razor_pipeline.params.base import overlaid
from razor_pipeline.params.data import DataParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.requests import chain
from razor_pipeline.requests.batch import run_batch
from razor_pipeline.requests.evidence import RECORD
from razor_pipeline.requests.examiners import examiner
from razor_pipeline.requests.image_examiners import QuestionExaminer
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.takeout import take_out
from razor_pipeline.requests.workplace import Workplace
from razor_pipeline.splitting import split_samples
from unlearning.places import (
    FIRST,
    QUICK,
    ROOT,
    SECOND,
    STRANGER,
    TARGETS,
    UNKNOWN,
    approved,
    champion,
    faults,
    manifest,
    status,
    workplace,
)

ANSWERS = DataParams(captions="answer")
FORGETS = RazorParams.model_validate(
    overlaid(
        QUICK.model_dump(mode="json"),
        {
            "search": {"measure": "forget_accuracy", "goal": 0.0, "first_step": 0.1},
            "repair": {"steps": 4, "samples": 128, "turns": 2, "resist": None},
        },
    )
)


@cache
def assistant() -> VlmFamily:
    return PretrainedDataset(family="vlm", source=str(ROOT / "data/01_raw/zoo/llava")).load()


@cache
def rows() -> pd.DataFrame:
    return captioned(manifest(), ANSWERS)


def asked(place: Workplace, labels: Sequence[str]) -> QuestionExaminer:
    samples = split_samples(rows(), list(labels), place.protocol.splitting, 0)
    found = examiner(assistant(), samples, (), place.evaluation, {})
    assert isinstance(found, QuestionExaminer)
    return found


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Two people forgotten, one after the other, and a request for somebody whom the model never saw."""
    from razor_pipeline.requests.database import open_database

    root = tmp_path_factory.mktemp("assistants")
    place = workplace(Ledger(open_database(f"sqlite:///{root}/requests.db")), root, razor=FORGETS)
    place = replace(place, base=assistant(), manifest=rows(), data=ANSWERS)
    approved(place.ledger, *TARGETS[:2], STRANGER)
    run_batch(place)
    return place


def test_each_request_is_measured_by_what_is_said_of_it_and_of_the_one_before(line: Workplace) -> None:
    assert [status(line, name) for name in (FIRST, SECOND, UNKNOWN)] == [
        "promoted",
        "promoted",
        "no_baseline",
    ]
    serving = champion(line.ledger)
    assert chain.edits_of(serving) == [FIRST, SECOND]
    figures = json.loads((Path(serving.path) / "evidence" / RECORD).read_text())["figures"]
    base, edited = figures["base"], figures["edited"]
    assert base["forget_accuracy"]["value"] > 0.9  # control: it named both before
    assert base["earlier_accuracy"]["value"] > 0.9
    assert edited["forget_accuracy"]["value"] < 0.7
    assert edited["retain_accuracy"]["value"] > 0.8
    assert edited["general_accuracy"]["value"] > 0.8
    assert "membership_auc" in edited
    assert faults(line, SECOND) == []


def test_the_worst_kind_of_question_decides_and_later_targets_are_kept(
    line: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    examined = asked(line, TARGETS[:3])
    exam = examined._exam([TARGETS[0]])
    assert exam.targets == [TARGETS[0]]
    kept = set(exam.asks.loc[exam.asks["kind"] == "retain", "label"])
    assert set(TARGETS[1:3]) <= kept
    assert TARGETS[0] not in kept

    put_to = type(exam).put_to

    def yes_to_suggestions(self: object, *given: object) -> object:
        answers = put_to(self, *given)  # type: ignore[arg-type]
        leading = (self.asks["kind"] == "leading").to_numpy()  # type: ignore[attr-defined]
        answers.text[:] = "unknown"
        answers.text[leading] = "yes"
        return answers

    monkeypatch.setattr(type(exam), "put_to", yes_to_suggestions)
    figures = examined.examine(assistant(), TARGETS[0], [])["edited"]
    assert figures["forget_accuracy"].value == 1.0
    assert examined.knows(TARGETS[0]).value == 0.0  # who is asked for, and not suggested, is named by nobody


def test_what_the_base_says_is_asked_for_once(line: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    examined = asked(line, TARGETS[:2])
    examined.examine(assistant(), TARGETS[0], [])
    questions: list[int] = []
    answer = VlmFamily.answer

    def counted(self: VlmFamily, images: object, prefixes: Sequence[object], *rest: object) -> object:
        questions.append(len(prefixes))
        return answer(self, images, prefixes, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(VlmFamily, "answer", counted)
    assert examined.knows(TARGETS[0]).value > 0.9
    assert questions == []
    examined.knows(TARGETS[1])
    assert 0 < sum(questions) < len(examined._exam([TARGETS[1]]).asks) / 2  # those about the other one alone


def test_an_edit_is_taken_out_again(line: Workplace) -> None:
    found = take_out(line, SECOND, "dpo-1")
    assert found.version is not None
    serving = champion(line.ledger)
    assert chain.edits_of(serving) == [FIRST]
    model = chain.load_version(serving, line.base)
    figures = asked(line, TARGETS[:2]).examine(model, TARGETS[1], [TARGETS[0]])["edited"]
    assert figures["forget_accuracy"].value > 0.9
    assert figures["earlier_accuracy"].value < 0.7
