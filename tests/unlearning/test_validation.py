"""What is looked at before a request is recorded, and what makes it validated."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from razor_pipeline.datasets.pretrained import KINDS
from razor_pipeline.families import FAMILIES
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.params.requests import GateParams
from razor_pipeline.requests.ledger import Ledger, LedgerError
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.submission import submit
from razor_pipeline.requests.tables import Champion
from razor_pipeline.requests.validation import SERVED, check_family, check_line, check_target, validate
from razor_pipeline.splitting import SplittingError
from unlearning.conftest import intake
from unlearning.places import STRANGER, TARGETS, manifest


@pytest.mark.parametrize("target", [TARGETS[0], TARGETS[0].upper(), STRANGER, STRANGER.lower()])
def test_a_known_target_is_found_in_any_letter_case_strangers_included(target: str) -> None:
    check_target(manifest(), intake(target), "clip")


def test_an_unknown_target_is_refused_unless_it_brings_its_images() -> None:
    check_target(manifest(), intake("Somebody New", data="case_1"), "clip")
    with pytest.raises(SplittingError, match="did you mean Zeno Castell"):
        check_target(manifest(), intake("Zeno Castel"), "clip")


@pytest.mark.parametrize("family", FAMILIES)
def test_of_models_that_draw_judges_are_asked_and_no_steps_to_relearn(family: str) -> None:
    relearning, none = GateParams(min_relearn_steps=3), GateParams()
    check_family(family, ["styles"], none)
    draws = issubclass(FAMILIES[family], TextToImageFamily)
    for judges, gates, refusal in (([], none, "no judges"), (["styles"], relearning, "set it to 0")):
        with pytest.raises(LedgerError, match=refusal) if draws else nullcontext():
            check_family(family, judges, gates)


def test_what_is_no_family_takes_no_requests() -> None:
    assert set(SERVED) == set(FAMILIES)
    [other] = KINDS.keys() - FAMILIES.keys()
    with pytest.raises(LedgerError, match=f"is of the family '{other}'"):
        check_family(other, ["styles"], GateParams())


def test_a_model_that_draws_is_brought_no_images() -> None:
    check_target(manifest(), intake(TARGETS[0]), "diffusion")
    brings = intake(TARGETS[0], data="case_1")
    check_target(manifest(), brings, "clip")
    with pytest.raises(LedgerError, match="submit it without them"):
        check_target(manifest(), brings, "diffusion")


def test_a_line_that_nobody_runs_is_refused(lite: Ledger) -> None:
    check_line(lite, "clip", "clip")
    with pytest.raises(LedgerError, match="'clpi' has no model"):
        check_line(lite, "clip", "clpi")
    with lite.writing() as session:
        session.add(Champion(model="vit", number=0))
    check_line(lite, "clip", "vit")


def test_what_another_submitter_has_validated_meanwhile_is_no_error(
    lite: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = submit(lite, intake(), "ops-1").id
    received = lite.requests("clip", Status.RECEIVED)
    validate(lite, "clip", Path("/nowhere"))
    monkeypatch.setattr(lite, "requests", lambda *_: received)  # listed before the other one was done
    assert validate(lite, "clip", Path("/nowhere")) == {name: None}
    assert [line.action for line in lite.history(name)] == ["submit", "move"]
