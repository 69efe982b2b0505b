"""One at a time: leases are refused, renewed, taken over when stale, and fenced."""

import multiprocessing
import time
from contextlib import AbstractContextManager

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from razor_pipeline.requests import crosscheck
from razor_pipeline.requests.database import open_database
from razor_pipeline.requests.leases import LeaseError, check, held, take
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.submission import submit
from razor_pipeline.requests.tables import AuditLine, Lease
from unlearning.conftest import intake


def test_a_second_worker_is_refused_and_told_who_works(ledger: Ledger) -> None:
    with held(ledger, "model:clip", 60, "host:1:2"):
        with pytest.raises(LeaseError, match=r"worked on by host:1:2.*runs out in"):
            take(ledger, "model:clip", 60, "host:3:4")
        take(ledger, "model:vit", 60, "host:3:4")
    take(ledger, "model:clip", 60, "host:3:4")


def test_a_lease_that_ran_out_is_taken_over_and_its_old_owner_is_fenced_off(ledger: Ledger) -> None:
    take(ledger, "model:clip", 0.05, "host:1:2")
    time.sleep(0.1)
    take(ledger, "model:clip", 60, "host:3:4")
    with ledger.writing() as session:
        check(session, "model:clip", "host:3:4")
        with pytest.raises(LeaseError, match="taken over"):
            check(session, "model:clip", "host:1:2")


def test_a_lease_is_renewed_while_its_block_runs(ledger: Ledger) -> None:
    with held(ledger, "model:clip", 0.4, "host:1:2"):
        time.sleep(1.0)
        with pytest.raises(LeaseError):
            take(ledger, "model:clip", 60, "host:3:4")


def test_a_database_that_fails_once_costs_no_lease(lite: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, failures = lite.writing, [OperationalError("", {}, OSError("restarting"))]

    def writing() -> AbstractContextManager[Session]:
        if failures:
            raise failures.pop()
        return kept()

    with held(lite, "model:clip", 0.8, "host:1:2"):
        monkeypatch.setattr(lite, "writing", writing)
        time.sleep(1.6)  # twice the lease's life
        assert failures == []
        with pytest.raises(LeaseError):
            take(lite, "model:clip", 60, "host:3:4")


def test_the_lease_of_a_process_that_is_gone_is_free_at_once(ledger: Ledger) -> None:
    from razor_pipeline.tracking.process import identity

    host = identity().split(":")[0]
    take(ledger, "model:clip", 3600, f"{host}:999999999:1")
    with held(ledger, "model:clip", 60):
        pass
    with ledger.reading() as session:
        assert session.get(Lease, "model:clip") is None


def _submit_and_take(url: str, worker: int, wins: "multiprocessing.Queue[int]") -> None:
    ledger = Ledger(open_database(url))
    for number in range(5):
        submit(ledger, intake(f"target {worker} {number}"), f"ops-{worker}")
    try:
        take(ledger, "model:clip", 60, f"elsewhere:{worker}:1")
        wins.put(worker)
    except LeaseError:
        pass


def test_four_processes_on_a_new_database_lose_nothing_and_one_gets_the_lease(url: str) -> None:
    """They migrate it at the same time, too."""
    context = multiprocessing.get_context("spawn")
    wins: multiprocessing.Queue[int] = context.Queue()
    workers = [context.Process(target=_submit_and_take, args=(url, n, wins)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    ledger = Ledger(open_database(url))
    numbers = sorted(int(request.id.rsplit("-", 1)[1]) for request in ledger.requests())
    assert numbers == list(range(1, 21))
    with ledger.reading() as session:
        assert crosscheck.faults(session) == []
        assert session.scalar(select(func.count()).select_from(AuditLine)) == 20
    assert wins.qsize() == 1
