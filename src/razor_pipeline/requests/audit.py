"""The audit log: append-only lines, each with the hash of the one before it.

Within the database a trigger refuses changes. Who can drop a trigger can also write a whole new chain, so the head is
anchored outside of it: every signed evidence folder and a file beside the reports hold a line's number and hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from razor_pipeline.requests.tables import AuditHead, AuditLine, Request

GENESIS = "0" * 64
FIELDS = ("seq", "at", "actor", "action", "request", "details", "record", "previous")


@dataclass(frozen=True)
class Anchor:
    """Number and hash of a line, as noted outside of the database.

    Attributes:
        place: where it was found, for messages.
    """

    seq: int
    sha256: str
    place: str


def canonical(value: Any) -> str:
    """JSON with sorted keys and no blanks: one text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def line_sha256(line: AuditLine) -> str:
    """sha256 over all fields of a line, the hash of the line before it included."""
    return hashlib.sha256(canonical({name: getattr(line, name) for name in FIELDS}).encode()).hexdigest()


def record_sha256(request: Request) -> str:
    """sha256 over a request's row."""
    row = {column.name: getattr(request, column.name) for column in Request.__table__.columns}
    plain = {name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()}
    return hashlib.sha256(canonical(plain).encode()).hexdigest()


def append(
    session: Session, at: str, actor: str, action: str, request: Request | None, details: Mapping[str, Any]
) -> AuditLine:
    """Write a line behind the last; the caller holds the lock of the head (:meth:`Ledger.writing`)."""
    session.flush()
    head = session.get_one(AuditHead, 1)
    line = AuditLine(
        seq=head.seq + 1,
        at=at,
        actor=actor,
        action=action,
        request=request.id if request else None,
        details=canonical(dict(details)),
        record=record_sha256(request) if request else None,
        previous=head.sha256,
    )
    line.sha256 = line_sha256(line)
    head.seq, head.sha256 = line.seq, line.sha256
    session.add(line)
    session.flush()
    return line


def chain_faults(session: Session, anchors: Iterable[Anchor]) -> list[str]:
    """Everything that is wrong with the log itself, a sentence each; none where it is intact.

    Finds altered, removed, inserted and reordered lines, a log cut at its end (by the head and the anchors) and a log
    written anew (by the anchors). What the other tables say is held against it in :mod:`.crosscheck`.
    """
    lines = list(session.scalars(select(AuditLine).order_by(AuditLine.seq)))
    found: list[str] = []
    previous = GENESIS
    for place, line in enumerate(lines, start=1):
        if line.seq != place:
            return [*found, f"line {place} is missing: the next one has the number {line.seq}"]
        if line.previous != previous:
            found.append(f"line {line.seq} does not follow from line {place - 1}: one of them was replaced")
        if line_sha256(line) != line.sha256:
            found.append(f"line {line.seq} was altered: its hash does not fit its content")
        previous = line.sha256
    head = session.get(AuditHead, 1)
    if head is None or (head.seq, head.sha256) != (len(lines), previous):
        found.append(f"the log ends at line {len(lines)}, which is not the head: lines were cut off or added")
    hashes = {line.seq: line.sha256 for line in lines}
    for anchor in anchors:
        if hashes.get(anchor.seq) != anchor.sha256:
            found.append(
                f"line {anchor.seq} is not the one that {anchor.place} vouches for: the log was cut or rewritten"
            )
    return found


def read_anchors(file: Path) -> list[Anchor]:
    """The anchors of a file that :func:`write_anchor` wrote; a line that is none counts as one that nothing meets."""
    found = []
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    for number, line in enumerate(text.splitlines(), start=1):
        place = f"{file.name}, line {number},"
        try:
            seq, sha256 = line.split(" ")
            found.append(Anchor(int(seq), sha256, place))
        except ValueError:
            found.append(Anchor(-1, "", place))
    return found


def write_anchor(file: Path, seq: int, sha256: str) -> None:
    """Note the head behind the earlier ones."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as opened:
        opened.write(f"{seq} {sha256}\n")
