"""Killed at any moment, and four at once: the same end, everything once."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from razor_pipeline.requests import chain, crosscheck
from razor_pipeline.requests.batch import run_batch
from razor_pipeline.requests.database import open_database
from razor_pipeline.requests.leases import LeaseError, held
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.registry import EXPERIMENT, NUMBER, WEIGHTS, registered_name
from razor_pipeline.requests.signing import make_keys
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.tables import AuditLine, Request, Version
from razor_pipeline.requests.verification import verify_request
from razor_pipeline.tracking.store import open_store
from unlearning.places import REHEARSED, TARGETS, approved, base, manifest, workplace

KILLS = int(os.environ.get("RAZOR_KILLS", "4"))  # docs/operations.md has the command for 50
REQUESTS = TARGETS[:2]
REQUEST_IDS = tuple(f"REQ-{datetime.now(UTC).year}-{number:04d}" for number in range(1, len(REQUESTS) + 1))
FORK = multiprocessing.get_context("fork")  # the libraries are loaded once


def started(work: Callable[[], object]) -> multiprocessing.process.BaseProcess:
    base(), manifest()
    process = FORK.Process(target=work)
    process.start()
    return process


def end_state(ledger: Ledger, root: Path) -> dict[str, object]:
    """What must not depend on how often the run was killed: ledger, weights on disk, registry, evidence."""
    client, name = MlflowClient(f"sqlite:///{root}/mlflow.db"), registered_name("clip")
    registered = client.search_model_versions(f"name='{name}'")
    unsound = [
        fault
        for one in REQUEST_IDS
        for _, fault in verify_request(ledger, one, root / "key.pub.pem", root / "models")
        if fault
    ]
    with ledger.reading() as session:
        serving = chain.champion(session, "clip")
        requests = session.scalars(select(Request).order_by(Request.id))
        made = list(session.scalars(select(Version).order_by(Version.number)))
        lines = session.scalars(select(AuditLine).order_by(AuditLine.seq))
        return {
            "champion": (serving.number, serving.weights),
            "requests": [(request.id, request.status, request.version) for request in requests],
            "versions": [(v.number, v.parent, v.request, v.weights, v.edits) for v in made],
            "disk": [chain.directory_sha256(chain.model_directory(v)) for v in made],
            "registry": sorted((int(v.version), v.tags[NUMBER], v.tags[WEIGHTS]) for v in registered),
            "serves": client.get_model_version_by_alias(name, "champion").tags[WEIGHTS],
            "unsound": unsound,
            "audit": [(line.actor, line.action, line.request, line.details) for line in lines],
        }


def dying(ledger: Ledger, at: int, committed: bool) -> Ledger:
    """A ledger whose process is killed at its ``at``-th transaction, before or behind the commit."""
    kept, count = ledger.writing, 0

    @contextmanager
    def writing() -> Iterator[Session]:
        nonlocal count
        count += 1
        with kept() as session:
            yield session
            if count == at and not committed:
                os.kill(os.getpid(), signal.SIGKILL)
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    ledger.writing = writing  # type: ignore[method-assign]
    return ledger


def prepared(root: Path, template: Path) -> Ledger:
    """Requests that may run, a key and an empty MLflow store; setting the store up takes longer than a batch."""
    root.mkdir()
    for file in filter(Path.is_file, template.iterdir()):  # artifacts of earlier lines lie beside them
        shutil.copy(file, root)
    ledger = Ledger(open_database(f"sqlite:///{root}/requests.db"))
    approved(ledger, *REQUESTS)
    return ledger


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    make_keys(root / "key.pem", root / "key.pub.pem")
    open_store(f"sqlite:///{root}/mlflow.db", EXPERIMENT, root)
    return root


def test_kills_at_random_moments_change_nothing(tmp_path: Path, template: Path) -> None:
    """Half of them by the clock, half at a transaction; a line that is finished is begun anew until all have struck."""
    calm = prepared(tmp_path / "calm", template)
    start = time.monotonic()
    undisturbed = started(lambda: run_batch(workplace(calm, tmp_path / "calm", registry=True)))
    undisturbed.join()
    seconds = time.monotonic() - start
    assert undisturbed.exitcode == 0
    expected = end_state(calm, tmp_path / "calm")
    assert expected["unsound"] == []
    assert len(expected["registry"]) == len(REQUESTS) + 1  # type: ignore[arg-type]

    rng, killed, lines = random.Random(KILLS), 0, 0
    while killed < KILLS:
        lines += 1
        root = tmp_path / f"line{lines}"
        ledger = prepared(root, template)
        exitcode: int | None = None
        while exitcode != 0:
            last, by_clock, committed = killed == KILLS, rng.random() < 0.5, rng.random() < 0.5
            at = rng.randint(1, 14)
            victim = ledger if last or by_clock else dying(Ledger(ledger.engine), at, committed)
            process = started(lambda one=victim, place=root: run_batch(workplace(one, place, registry=True)))  # type: ignore[misc]
            process.join(rng.uniform(0.0, seconds) if by_clock and not last else None)
            if process.is_alive():
                os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            exitcode = process.exitcode
            assert exitcode in (0, -signal.SIGKILL)
            killed += exitcode != 0
        assert end_state(ledger, root) == expected
        with ledger.reading() as session:
            assert crosscheck.faults(session) == []
        print(f"line {lines}: {killed} kills so far")
        shutil.rmtree(root)
    print(f"{killed} kills over {lines} lines, undisturbed {seconds:.1f} s")


def test_four_workers_run_every_request_once(url: str, tmp_path: Path) -> None:
    ledger = Ledger(open_database(url))
    names = approved(ledger, *TARGETS)

    def work(place: int) -> Callable[[], object]:
        only = [names[place], names[(place + 1) % len(names)]]  # each request is asked for by two workers
        given = {"only": only, "wait_seconds": 600.0, "razor": REHEARSED}
        return lambda: run_batch(workplace(Ledger(open_database(url)), tmp_path, registry=True, **given))

    workplace(ledger, tmp_path)  # the key is there before the workers are
    workers = [started(work(place)) for place in range(4)]
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert {(ledger.get(name).state, ledger.get(name).reason) for name in names} == {(Status.PROMOTED, None)}
    with ledger.reading() as session:
        lines = list(session.scalars(select(AuditLine).where(AuditLine.action == "move")))
        runs = [line.request for line in lines if json.loads(line.details)["to"] == "running"]
        assert sorted(runs) == names
        assert sorted(chain.edits_of(chain.champion(session, "clip"))) == names
        assert crosscheck.faults(session) == []
    found = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").search_model_versions("name='razor_clip'")
    assert sorted(version.tags["razor.version"] for version in found) == ["0", "1", "2", "3", "4"]


def test_a_second_worker_that_does_not_wait_is_refused(lite: Ledger, tmp_path: Path) -> None:
    approved(lite, TARGETS[0])
    with held(lite, "model:clip", 60, "elsewhere:1:1"), pytest.raises(LeaseError, match="elsewhere:1:1"):
        run_batch(workplace(lite, tmp_path))


def test_a_worker_that_slept_through_its_lease_promotes_and_overwrites_nothing(
    lite: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops at the first write behind the one that took over."""
    from razor_pipeline.requests import leases, step

    [name] = approved(lite, TARGETS[0])
    place = workplace(lite, tmp_path)
    theirs = [place.folder / f"{name}-v1" / part / "theirs" for part in (chain.MODEL, chain.EVIDENCE)]

    def overtaken(*arguments: Any) -> Any:
        with lite.writing() as session:
            lease = session.get(leases.Lease, "model:clip")
            assert lease is not None
            lease.owner = "elsewhere:1:1"
        for file in theirs:
            file.parent.mkdir(parents=True)
            file.touch()
        return examined(*arguments)

    examined = step.gates
    monkeypatch.setattr(step, "gates", overtaken)
    with pytest.raises(LeaseError, match="taken over"):
        run_batch(place)
    assert all(file.exists() for file in theirs)  # what the other one made, and may have let serve
    assert lite.get(name).state is Status.RUNNING
    with lite.reading() as session:
        assert chain.champion(session, "clip").number == 0
