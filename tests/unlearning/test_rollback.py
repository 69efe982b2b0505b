"""Whose edit serves is promoted, whatever became of the request while its edit was out."""

from pathlib import Path

import pytest
from sqlalchemy import update

from razor_pipeline.requests import crosscheck
from razor_pipeline.requests.batch import run_batch
from razor_pipeline.requests.ledger import LedgerError
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
