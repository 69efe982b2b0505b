"""Whose edit serves is promoted, whatever became of the request while its edit was out."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import update

from razor_pipeline.datasets.weight_edit import WeightEditDataset, load_edit
from razor_pipeline.requests import crosscheck, run
from razor_pipeline.requests.batch import run_batch
from razor_pipeline.requests.chain import EDIT, EVIDENCE
from razor_pipeline.requests.ledger import LedgerError
from razor_pipeline.requests.places import ANCHORS
from razor_pipeline.requests.promotion import restore_previous
from razor_pipeline.requests.states import Reason, Status
from razor_pipeline.requests.tables import Request
from razor_pipeline.requests.takeout import take_out
from razor_pipeline.requests.workplace import Workplace
from unlearning.places import FIRST, SECOND, champion, copied, faults, intact, status


@pytest.mark.parametrize("became", [Status.REJECTED, Status.APPROVED, Status.PROMOTED])
def test_a_request_whose_edit_comes_back_is_promoted_whatever_became_of_it(
    done: tuple[Workplace, Path], tmp_path: Path, became: Status
) -> None:
    place = copied(done, tmp_path)
    take_out(place, FIRST, "dpo-1")
    if became is Status.REJECTED:
        place.ledger.reject(FIRST, "dpo-1", Reason.WITHDRAWN)
    else:
        place.ledger.approve(FIRST, "dpo-1", 1)
    if became is Status.PROMOTED:  # by a run of its own, which made version 4
        run_batch(place)
        assert restore_previous(place.ledger, "clip", "dpo-1").number == 3
    assert restore_previous(place.ledger, "clip", "dpo-1").number == 2
    assert [status(place, name) for name in (FIRST, SECOND)] == ["promoted", "promoted"]
    assert place.ledger.get(FIRST).version == 1
    assert faults(place, FIRST) == []
    assert intact(place)
    assert run_batch(place) == []


def test_an_edit_that_was_changed_puts_nothing_back(done: tuple[Workplace, Path], tmp_path: Path) -> None:
    """Its old weights would serve, and under evidence that is signed anew."""
    place = copied(done, tmp_path)
    folder = Path(champion(place.ledger).path)
    kept = tmp_path / "evidence"
    shutil.copytree(folder / EVIDENCE, kept)
    try:
        edit = load_edit(folder / EVIDENCE / EDIT)
        for tensor in edit.before.values():
            tensor.add_(0.125)
        WeightEditDataset(filepath=str(folder / EVIDENCE / EDIT)).save(edit)
        with pytest.raises(LedgerError, match=r"do not lead back to version 1 .* restore its evidence"):
            take_out(place, SECOND, "dpo-1")
        assert champion(place.ledger).number == 2
    finally:
        shutil.rmtree(folder / EVIDENCE)
        shutil.copytree(kept, folder / EVIDENCE)
    assert take_out(place, SECOND, "dpo-1").version == 3  # control
    card = (Path(champion(place.ledger).path) / "model" / "README.md").read_text(encoding="utf-8")
    assert f"without the edit of {SECOND}" in card
    assert f"Edits that it holds: {FIRST}." in card
    assert "edited to forget" not in card


def test_what_was_done_before_a_fault_is_vouched_for(
    done: tuple[Workplace, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = copied(done, tmp_path)
    params = place.params.model_copy(update={"ledger": f"sqlite:///{tmp_path}/requests.db"})
    anchors = Path(params.reports) / ANCHORS

    def fails(_: Workplace) -> None:
        raise LedgerError("in the middle")

    monkeypatch.setattr(run, "run_batch", fails)
    given = (place.data, place.protocol.splitting, place.protocol.razor, (), place.evaluation, {}, 0)
    with pytest.raises(LedgerError, match="in the middle"):
        run.run_due(place.base, place.manifest, params, *given)
    seq, sha256 = place.ledger.head()
    assert anchors.read_text(encoding="utf-8") == f"{seq} {sha256}\n"


def test_a_request_that_is_being_run_keeps_its_old_edit_out(
    done: tuple[Workplace, Path], tmp_path: Path
) -> None:
    place = copied(done, tmp_path)
    take_out(place, SECOND, "dpo-1")
    place.ledger.approve(SECOND, "dpo-1", 1)
    with place.ledger.writing() as session:
        place.ledger.move(session, place.ledger.get(SECOND, session), Status.RUNNING, "system-0")
    with pytest.raises(LedgerError, match=f"{SECOND} is being run"):
        restore_previous(place.ledger, "clip", "dpo-1")
    assert champion(place.ledger).number == 3
    assert intact(place)


def test_an_edit_that_serves_for_a_request_that_is_not_promoted_is_told_and_not_made_twice(
    done: tuple[Workplace, Path], tmp_path: Path
) -> None:
    """As an earlier release left them."""
    place = copied(done, tmp_path)
    assert intact(place)  # control
    with place.ledger.writing() as session:
        session.execute(update(Request).where(Request.id == FIRST).values(status=Status.APPROVED))
        session.expire_all()
        place.ledger.note(session, "dpo-1", "approval", place.ledger.get(FIRST, session))
    with place.ledger.reading() as session:
        [fault] = crosscheck.faults(session)
    assert fault.startswith(
        f"the edit of {FIRST} is in version 2 of 'clip', which serves, and {FIRST} is approved"
    )
    run_batch(place)
    assert champion(place.ledger).number == 2
    assert "serves, already" in (place.ledger.get(FIRST).reason or "")
