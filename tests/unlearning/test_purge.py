"""Purging takes what is one request's own, and nothing of another's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from razor_pipeline.requests.leases import LeaseError, held, of_line
from razor_pipeline.requests.ledger import Ledger, LedgerError
from razor_pipeline.requests.purge import purge
from razor_pipeline.requests.states import Reason, Status
from razor_pipeline.requests.submission import submit
from razor_pipeline.requests.tables import Request
from unlearning.conftest import intake


def rejected(ledger: Ledger, root: Path, target: str, data: str) -> tuple[str, Path]:
    """A request that is over, and an image that it brought."""
    name = submit(ledger, intake(target, data=data), "ops-1").id
    ledger.reject(name, "dpo-1", Reason.WITHDRAWN)
    (root / data).mkdir(parents=True, exist_ok=True)
    image = root / data / "a.png"
    image.write_bytes(b"")
    return name, image


def test_images_that_two_requests_name_go_with_the_last_of_them(lite: Ledger, tmp_path: Path) -> None:
    first, image = rejected(lite, tmp_path, "A", "case_1")
    second, _ = rejected(lite, tmp_path, "B", "case_1")
    assert purge(lite, first, "dpo-1", tmp_path, 60.0).target is None
    assert image.exists()
    purge(lite, second, "dpo-1", tmp_path, 60.0)
    assert not image.exists()


def test_images_of_another_request_below_the_folder_are_not_purged_with_it(
    lite: Ledger, tmp_path: Path
) -> None:
    outer, image = rejected(lite, tmp_path, "A", "case")
    inner, below = rejected(lite, tmp_path, "B", "case/1")
    with pytest.raises(LedgerError, match=f"images of {inner} lie in a folder below"):
        purge(lite, outer, "dpo-1", tmp_path, 60.0)
    assert (lite.get(outer).target, below.exists()) == ("A", True)
    purge(lite, inner, "dpo-1", tmp_path, 60.0)
    assert (image.exists(), below.exists()) == (True, False)
    purge(lite, outer, "dpo-1", tmp_path, 60.0)
    assert not image.exists()


def test_nothing_is_purged_while_a_worker_is_on_the_line(lite: Ledger, tmp_path: Path) -> None:
    """It may be reading these very images. Control: a worker on another line keeps nobody waiting."""
    name, image = rejected(lite, tmp_path, "A", "case_1")
    with held(lite, of_line("clip"), 60.0, "elsewhere:1:1"):
        with pytest.raises(LeaseError, match=r"worked on by elsewhere:1:1.*wait, or end that process"):
            purge(lite, name, "dpo-1", tmp_path, 60.0)
        assert (lite.get(name).target, image.exists()) == ("A", True)
    with held(lite, of_line("vit"), 60.0, "elsewhere:1:1"):
        purge(lite, name, "dpo-1", tmp_path, 60.0)
    assert not image.exists()
    with held(lite, of_line("clip"), 60.0, "elsewhere:1:1"):  # control: its own lease was given back
        pass


def test_what_is_approved_again_meanwhile_is_not_purged(
    lite: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, image = rejected(lite, tmp_path, "A", "case_1")
    kept = lite.writing

    @contextmanager
    def behind_another() -> Iterator[Session]:
        with kept() as session:
            session.get_one(Request, name).status = Status.APPROVED
        with kept() as session:
            yield session

    monkeypatch.setattr(lite, "writing", behind_another)
    with pytest.raises(LedgerError, match="is approved; only a finished request"):
        purge(lite, name, "dpo-1", tmp_path, 60.0)
    assert image.exists()
