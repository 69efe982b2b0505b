"""The ledger's tables.

Moments are UTC in ISO 8601, as text: what is hashed must come back from any database as it was.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from razor_pipeline.requests.deadlines import Basis
from razor_pipeline.requests.states import CLOSED, Status


class Base(DeclarativeBase):
    """All tables."""


class Request(Base):
    """One request.

    ``target``, ``data`` and ``nonce`` are the only personal data, and a purge empties them. The nonce keeps the hash of
    a record in the audit log from telling the name to somebody who guesses.
    """

    __tablename__ = "requests"

    id: Mapped[str] = mapped_column(String(20), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    model: Mapped[str] = mapped_column(String(32), index=True)
    target: Mapped[str | None] = mapped_column(String(200))
    data: Mapped[str | None] = mapped_column(String(200))
    nonce: Mapped[str | None] = mapped_column(String(32))
    basis: Mapped[str] = mapped_column(String(8))
    requester: Mapped[str] = mapped_column(String(20))
    received: Mapped[date]
    due: Mapped[date]
    extended: Mapped[date | None]
    status: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str | None] = mapped_column(Text)
    version: Mapped[int | None]  # the model version that it made
    purged: Mapped[str | None] = mapped_column(String(40))

    @property
    def state(self) -> Status:
        """Where it stands."""
        return Status(self.status)

    @property
    def legal_basis(self) -> Basis:
        """What it rests on."""
        return Basis(self.basis)

    @property
    def deadline(self) -> date:
        """The last day to answer, extension included."""
        return self.extended or self.due

    def days_left(self, today: date) -> int | None:
        """Days until the deadline, negative where it has passed; None for what is closed."""
        return None if self.state in CLOSED else (self.deadline - today).days


class AuditLine(Base):
    """One line of the audit log; a trigger refuses to change or delete it."""

    __tablename__ = "audit"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[str] = mapped_column(String(40))
    actor: Mapped[str] = mapped_column(String(20))
    action: Mapped[str] = mapped_column(String(24))
    request: Mapped[str | None] = mapped_column(String(20), index=True)
    details: Mapped[str] = mapped_column(Text)  # canonical JSON
    record: Mapped[str | None] = mapped_column(String(64))  # sha256 of the request's row after this
    previous: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))


class AuditHead(Base):
    """The last line of the log; every writer locks this one row first, so lines are written one after the other."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True)
    seq: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))


class Lease(Base):
    """Who works on what until when."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(160))
    expires: Mapped[float]  # seconds since the epoch


class Batch(Base):
    """Requests that share a retain-gradient pass: a batch that was killed goes on with the same one."""

    __tablename__ = "batches"

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(32), index=True)
    parent: Mapped[int]
    requests: Mapped[str] = mapped_column(Text)  # ids in their order, JSON
    closed: Mapped[bool] = mapped_column(default=False)


class Version(Base):
    """One model of a line: what it was made from, by which request, and whether it serves or served."""

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("model", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(32), index=True)
    number: Mapped[int]
    parent: Mapped[int | None]
    request: Mapped[str | None] = mapped_column(ForeignKey("requests.id"))
    path: Mapped[str] = mapped_column(Text)
    weights: Mapped[str] = mapped_column(String(64))  # sha256 over all tensors
    edits: Mapped[str] = mapped_column(Text)  # ids of the requests whose edits are in it, in order, JSON
    retain_accuracy: Mapped[float | None]
    registered: Mapped[str | None] = mapped_column(String(32))  # version number in MLflow's registry


class Champion(Base):
    """The version of a line that serves; the only place that says so. MLflow's alias follows it."""

    __tablename__ = "champions"

    model: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int]
