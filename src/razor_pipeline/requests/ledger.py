"""The ledger: the one way to read and change requests. Every change and its audit line are one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from razor_pipeline.requests import audit, deadlines, states
from razor_pipeline.requests.database import reads
from razor_pipeline.requests.states import CLOSED, Reason, Status
from razor_pipeline.requests.tables import AuditHead, AuditLine, Request

SYSTEM = "system-0"  # the actor of what no person decides


class LedgerError(ValueError):
    """The ledger refuses; the message is one sentence with the fix."""


def now_utc() -> datetime:
    """This moment."""
    return datetime.now(UTC)


@dataclass
class Ledger:
    """Requests, their states and the audit log.

    Attributes:
        engine: an open database in its current schema (:func:`razor_pipeline.requests.database.open_database`).
        clock: what time it is, in UTC.
    """

    engine: Engine
    clock: Callable[[], datetime] = now_utc
    _sessions: sessionmaker[Session] = field(init=False)

    def __post_init__(self) -> None:
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    def today(self) -> date:
        """The day in UTC."""
        return self.clock().date()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that changes nothing and sees one moment; writers and other readers go on beside it."""
        with self._sessions() as session:
            session.connection(execution_options=reads(self.engine))
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction; writers wait for one another at the head of the audit log."""
        with self._sessions.begin() as session:
            session.execute(select(AuditHead).with_for_update()).one()
            yield session

    def note(
        self, session: Session, actor: str, action: str, request: Request | None = None, **details: Any
    ) -> AuditLine:
        """Append a line to the audit log."""
        return audit.append(
            session, self.clock().isoformat(timespec="microseconds"), actor, action, request, details
        )

    def get(self, name: str, session: Session | None = None) -> Request:
        """One request.

        Raises:
            LedgerError: there is none of this id.
        """
        if session is None:
            with self.reading() as fresh:
                return self.get(name, fresh)
        request = session.get(Request, name)
        if request is None:
            raise LedgerError(f"{name} is not in the ledger; see `kedro unlearning list`")
        return request

    def requests(self, model: str | None = None, *among: Status) -> list[Request]:
        """Requests, the most urgent first: overdue, then by deadline; closed ones last."""
        with self.reading() as session:
            return self.requests_in(session, model, *among)

    def requests_in(self, session: Session, model: str | None, *among: Status) -> list[Request]:
        """:meth:`requests` as a transaction sees them."""
        query = select(Request)
        query = query.where(Request.model == model) if model else query
        query = query.where(Request.status.in_(among)) if among else query
        found = session.scalars(query)
        return sorted(found, key=lambda request: (request.state in CLOSED, request.deadline, request.id))

    def move(
        self,
        session: Session,
        request: Request,
        to: Status,
        actor: str,
        reason: str | None = None,
        **details: Any,
    ) -> None:
        """Change a request's status.

        Raises:
            TransitionError: it cannot become this.
        """
        states.check(request.id, request.state, to)
        self._set(session, request, to, actor, reason, **details)

    def serves_again(self, session: Session, request: Request, version: int, actor: str, reason: str) -> None:
        """Promote a request whose edit is in a version that was restored, whatever became of the request since.

        Args:
            session: transaction that restores the version.
            request: the request.
            version: that it made, and that the restored one began with.
            actor: who restores.
            reason: what is said of it.
        """
        request.version = version
        self._set(session, request, Status.PROMOTED, actor, reason, version=version)

    def _set(
        self, session: Session, request: Request, to: Status, actor: str, reason: str | None, **details: Any
    ) -> None:
        old = request.state
        request.status, request.reason = to, reason
        self.note(
            session,
            actor,
            "move",
            request,
            old=old,
            to=to,
            **({"reason": reason} if reason else {}),
            **details,
        )

    def reject(self, name: str, actor: str, reason: Reason) -> Request:
        """Close a request without an edit.

        Raises:
            LedgerError: it is unknown.
            TransitionError: it cannot be rejected any more.
        """
        with self.writing() as session:
            request = self.get(name, session)
            self.move(session, request, Status.REJECTED, actor, reason)
            return request

    def approve(self, name: str, actor: str, needed: int) -> Request:
        """Note an approval; with the last that is needed the request becomes approved.

        Raises:
            LedgerError: it is unknown or purged, or the actor may not approve (:meth:`approved_by`).
            TransitionError: it cannot be approved.
        """
        with self.writing() as session:
            request = self.get(name, session)
            states.check(name, request.state, Status.APPROVED)
            if request.purged:
                raise LedgerError(f"{name} cannot be approved any more: its data was purged")
            if self.approved_by(session, request, actor, needed):
                self.move(session, request, Status.APPROVED, actor)
            return request

    def approved_by(self, session: Session, request: Request, actor: str, needed: int) -> bool:
        """Note an approval; whether it was the last that is needed, here or where the request was submitted.

        Raises:
            LedgerError: this actor has approved it already, or submitted it where two or more are needed.
        """
        given, submission = self._approvals(session, request), self._submission(session, request)
        needed = max(needed, json.loads(submission.details).get("approvals", 1))
        if needed > 1 and actor == submission.actor:
            raise LedgerError(f"{actor} submitted {request.id}; {needed} other people must approve it")
        if actor in given:
            raise LedgerError(
                f"{actor} has approved {request.id} already; {needed} different people are needed"
            )
        self.note(session, actor, "approval", request)
        return len(given) + 1 >= needed

    def _approvals(self, session: Session, request: Request) -> set[str]:
        """Who has approved the request since its status last changed."""
        lines = session.scalars(
            select(AuditLine).where(AuditLine.request == request.id).order_by(AuditLine.seq.desc())
        )
        found: set[str] = set()
        for line in lines:
            if line.action == "move":
                break
            if line.action == "approval":
                found.add(line.actor)
        return found

    def waits(self, session: Session, request: Request) -> bool:
        """Whether its model serves only after an approval, as the environment says in which it was submitted."""
        return bool(json.loads(self._submission(session, request).details).get("promotion") == "approval")

    def _submission(self, session: Session, request: Request) -> AuditLine:
        """Its first line; one that an earlier version wrote says nothing of approvals."""
        query = select(AuditLine).where(AuditLine.request == request.id, AuditLine.action == "submit")
        return session.scalars(query).one()

    def extend(self, name: str, actor: str, reason: Reason) -> Request:
        """Take the one extension of the deadline.

        Raises:
            LedgerError: it is unknown, closed, or extended already.
            DeadlineError: the first period is over, or the basis knows none.
        """
        with self.writing() as session:
            request = self.get(name, session)
            if request.state in CLOSED:
                raise LedgerError(f"{name} is {request.status}; no deadline runs any more")
            if request.extended:
                raise LedgerError(
                    f"{name} was extended to {request.extended} already; the law knows one extension"
                )
            request.extended = deadlines.extended(
                request.received, request.legal_basis, request.due, self.today()
            )
            self.note(session, actor, "extend", request, reason=reason, until=request.extended.isoformat())
            return request

    def history(self, name: str) -> list[AuditLine]:
        """A request's lines of the audit log."""
        with self.reading() as session:
            query = select(AuditLine).where(AuditLine.request == name).order_by(AuditLine.seq)
            return list(session.scalars(query))

    def begun_behind(self, seq: int, model: str) -> list[str]:
        """Ids of a line's requests that a run has begun behind a line of the audit log, in their order."""
        with self.reading() as session:
            query = select(AuditLine).join(Request, AuditLine.request == Request.id)
            query = query.where(AuditLine.seq > seq, AuditLine.action == "move", Request.model == model)
            moves = session.scalars(query.order_by(AuditLine.seq))
            begun = [m.request for m in moves if json.loads(m.details)["to"] == Status.RUNNING]
            return [name for name in dict.fromkeys(begun) if name is not None]

    def sha256_of(self, seq: int) -> str | None:
        """Hash of a line of the audit log; None where it has no such line."""
        with self.reading() as session:
            return session.scalar(select(AuditLine.sha256).where(AuditLine.seq == seq))

    def first(self) -> str | None:
        """Hash of the first line, which no other ledger has; None while there is no line."""
        return self.sha256_of(1)

    def head(self) -> tuple[int, str]:
        """Number and hash of the last line of the audit log."""
        with self.reading() as session:
            head = session.get_one(AuditHead, 1)
            return head.seq, head.sha256
