"""The ledger's database: SQLite or PostgreSQL, brought to the current schema by one process at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

MIGRATIONS = Path(__file__).parent / "migrations"
KINDS = ("sqlite", "postgresql+psycopg")
WAIT = 60  # seconds that a writer waits for the others
READS = "razor_reads"  # option of a connection that changes nothing
LOCK = 7_203_914  # PostgreSQL's advisory lock of the migration


def open_database(url: str) -> Engine:
    """The database in its current schema.

    Args:
        url: ``sqlite:///path`` or ``postgresql+psycopg://user@host/name``.

    Raises:
        ConnectionError: it does not answer, or the address is of no known kind. Passwords are not repeated.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConnectionError(
            "requests.ledger is no database address; write e.g. sqlite:///data/requests.db"
        ) from error
    shown = parsed.render_as_string(hide_password=True)
    if parsed.drivername not in KINDS:
        raise ConnectionError(f"requests.ledger is '{shown}'; it must begin with {' or '.join(KINDS)}")
    try:
        engine = _engine(url)
        migrate(engine)
    except (DBAPIError, NoSuchModuleError, OSError) as error:
        raise ConnectionError(
            f"the ledger '{shown}' cannot be opened ({reason(error)}); correct requests.ledger or RAZOR_LEDGER"
        ) from error
    return engine


def reason(error: Exception) -> str:
    """What a database says, as one line: neither the statement nor its values, which follow behind the first."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, poolclass=NullPool, hide_parameters=True)  # names are among them
    place = make_url(url).database
    if place:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        if not Path(place).exists():
            Path(place).touch(mode=0o600)  # names will be in it
    engine = create_engine(url, connect_args={"timeout": WAIT}, poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")  # a purged name is not to be found in the file

    @event.listens_for(engine, "begin")
    def one_writer(connection: Any) -> None:
        # A read that becomes a write would fail under others; one that stays a read must not wait for them.
        reads = connection.get_execution_options().get(READS)
        connection.exec_driver_sql("BEGIN DEFERRED" if reads else "BEGIN IMMEDIATE")

    return engine


def reads(engine: Engine) -> dict[str, Any]:
    """Options of a connection that changes nothing: all that it reads is from one moment, as SQLite has it anyway."""
    return {READS: True} | (
        {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    )


def migrate(engine: Engine) -> None:
    """Bring the schema up to date; nothing happens where it is."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    head = ScriptDirectory.from_config(config).get_current_head()
    with engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() == head:
            return
    with _alone(engine), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
        if MigrationContext.configure(connection).get_current_revision() != head:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    place = engine.url.database if engine.dialect.name == "sqlite" else None
    if not place:
        yield
        return
    with Path(f"{place}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
