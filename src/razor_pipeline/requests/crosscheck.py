"""The whole ledger against its audit log: the log itself, and every row that it speaks of."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from razor_pipeline.requests.audit import Anchor, chain_faults, record_sha256
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.tables import AuditLine, Champion, Request, Version

Details = dict[str, Any]


def faults(session: Session, anchors: Iterable[Anchor] = ()) -> list[str]:
    """Everything that is wrong, a sentence each; none where the ledger is intact.

    Beside the log's own faults: a request whose row is not what its last line says, a version that no line made or
    that is not the one that was measured, and a champion that no line let serve.
    """
    found = chain_faults(session, anchors)
    try:
        lines = list(session.scalars(select(AuditLine).order_by(AuditLine.seq)))
        told = [(line, _details(line)) for line in lines]
        return [
            *found,
            *_row_faults(session, lines),
            *_version_faults(session, told),
            *_champion_faults(session, told),
            *_edit_faults(session),
        ]
    except (ValueError, KeyError, TypeError) as error:  # a line or row that no longer has its form
        return [*found, f"a line or row cannot be read any more ({type(error).__name__}): it was altered"]


def _details(line: AuditLine) -> Details:
    found = json.loads(line.details)
    if not isinstance(found, dict):
        raise TypeError("details of an audit line are a mapping")
    return found


def _row_faults(session: Session, lines: list[AuditLine]) -> list[str]:
    last = {line.request: line.record for line in lines if line.request}
    rows = {request.id: request for request in session.scalars(select(Request))}
    found = [f"{name} has an audit line and no row: it was removed" for name in sorted(last.keys() - rows)]
    for name, request in sorted(rows.items()):
        if name not in last:
            found.append(f"{name} has a row and no audit line: it was slipped in")
        elif last[name] != record_sha256(request):
            found.append(f"the row of {name} is not what its last audit line says: it was altered")
        elif request.status not in set(Status):
            found.append(f"{name} has the status '{request.status}', which does not exist")
    return found


def _version_faults(session: Session, told: list[tuple[AuditLine, Details]]) -> list[str]:
    """Versions that are not what the log says: other weights, another request, other edits, or none that it knows."""
    model_of = {request.id: request.model for request in session.scalars(select(Request))}
    known: dict[tuple[str, int], tuple[str, str | None]] = {}
    for line, details in told:
        if line.action == "line":
            known[details["model"], 0] = details["weights"], None
        elif line.request in model_of and _made_version(line.action, details):
            taken_out = details["to"] == Status.ROLLED_BACK
            key = model_of[line.request], details["version"]
            known[key] = details["weights"], None if taken_out else line.request
    rows = {(version.model, version.number): version for version in session.scalars(select(Version))}
    found = [
        f"version {number} of '{model}' {'has no row' if (model, number) in known else 'was made by no audit line'}"
        for model, number in sorted(known.keys() ^ rows.keys())
    ]
    for (model, number), version in sorted(rows.items()):
        parent = rows.get((model, version.parent)) if version.parent is not None else None
        if (model, number) in known and known[model, number] != (version.weights, version.request):
            found.append(f"version {number} of '{model}' is not the one that was measured: it was altered")
        elif json.loads(version.edits) != _edits(version, parent, told):
            found.append(f"version {number} of '{model}' names other edits than the log: it was altered")
    return found


def _edits(version: Version, parent: Version | None, told: list[tuple[AuditLine, Details]]) -> list[str]:
    """The edits that a version must hold: those of its parent, and its own or without the one that was taken out."""
    before: list[str] = json.loads(parent.edits) if parent else []
    if version.number == 0 or version.request:
        return [*before, version.request] if version.request else []
    gone = {
        line.request
        for line, details in told
        if details.get("to") == Status.ROLLED_BACK and details.get("version") == version.number
    }
    return [name for name in before if name not in gone]


def _made_version(action: str, details: Details) -> bool:
    """Whether a move made a version: one that was verified, or one without an edit (which alone tells weights)."""
    return (
        action == "move" and details["to"] in (Status.VERIFIED, Status.ROLLED_BACK) and "weights" in details
    )


def _let_serve(action: str, details: Details) -> bool:
    """Whether a move let a version serve; one that was restored is told by its own line."""
    taken_out = details.get("to") == Status.ROLLED_BACK and "weights" in details
    return action == "move" and (details["to"] == Status.PROMOTED or taken_out)


def _edit_faults(session: Session) -> list[str]:
    """Requests whose edit serves and who are not promoted: a bare rollback of an earlier release left them so."""
    found = []
    for serving in session.scalars(select(Champion).order_by(Champion.model)):
        query = select(Version).where(Version.model == serving.model, Version.number == serving.number)
        version = session.scalars(query).one_or_none()  # that there is none is told by the others
        for name in json.loads(version.edits) if version else []:
            request = session.get(Request, name)
            if request is not None and request.status != Status.PROMOTED:
                found.append(
                    f"the edit of {name} is in version {serving.number} of '{serving.model}', which serves, and {name} "
                    f"is {request.status}: let another version serve with `kedro unlearning rollback`"
                )
    return found


def _champion_faults(session: Session, told: list[tuple[AuditLine, Details]]) -> list[str]:
    """Lines of models where another version serves than the log says."""
    model_of = {request.id: request.model for request in session.scalars(select(Request))}
    serves: dict[str, int] = {}
    for line, details in told:
        if line.action == "line":
            serves[details["model"]] = 0
        elif line.action == "rollback":
            serves[details["model"]] = details["to"]
        elif line.request in model_of and _let_serve(line.action, details):
            serves[model_of[line.request]] = details["version"]
    serving = {champion.model: champion.number for champion in session.scalars(select(Champion))}
    return [
        f"version {serving.get(model)} of '{model}' serves, and the log says {serves.get(model)}: it was swapped"
        for model in sorted(serves.keys() | serving.keys())
        if serves.get(model) != serving.get(model)
    ]
