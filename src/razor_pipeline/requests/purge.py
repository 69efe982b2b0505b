"""Removing what is personal from a finished request, while the evidence stays."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

from sqlalchemy import select
from sqlalchemy.orm import Session

from razor_pipeline.requests import ids, leases
from razor_pipeline.requests.ledger import Ledger, LedgerError
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.tables import Request

OVER = (Status.PROMOTED, Status.REJECTED, Status.NO_BASELINE, Status.ROLLED_BACK)


def purge(ledger: Ledger, name: str, actor: str, data_root: Path, lease_seconds: float) -> Request:
    """Delete the target's name and the images that the request brought along; it cannot be undone.

    Later requests are then not measured against this target any more, and their reports say so. Images in a folder that
    another request names too go with the last of these requests.

    Args:
        ledger: of the requests.
        name: id of the request.
        actor: who purges.
        data_root: folder of what requests brought.
        lease_seconds: life of the lease of the request's line, which keeps workers from it meanwhile.

    Raises:
        LedgerError: the request is unknown, not finished, or purged already, or another one's images lie below its own.
        LeaseError: a worker is on the line.
        IdError: the folder holds a symbolic link.
    """
    lease = leases.of_line(ledger.get(name).model)
    with leases.held(ledger, lease, lease_seconds) as owner, ledger.writing() as session:
        leases.check(session, lease, owner)
        request = ledger.get(name, session)
        if request.state not in OVER:
            raise LedgerError(
                f"{name} is {request.status}; only a finished request is purged: {', '.join(OVER)}"
            )
        if request.purged:
            raise LedgerError(f"{name} was purged at {request.purged} already")
        # Before the row forgets where they are: a purge that is killed here can be asked for again.
        if request.data is not None and _is_its_own(session, request):
            folder = ids.data_folder(request.data, data_root)
            if folder.is_dir():
                shutil.rmtree(folder)
        request.target = request.data = request.nonce = None
        request.purged = ledger.clock().isoformat(timespec="seconds")
        ledger.note(session, actor, "purge", request)
        return request


def _is_its_own(session: Session, request: Request) -> bool:
    """Whether no other request needs the images in its folder."""
    own = PurePosixPath(request.data or "")
    others = select(Request).where(Request.data.is_not(None), Request.id != request.id)
    folders = {other.id: PurePosixPath(other.data or "") for other in session.scalars(others)}
    for other, folder in folders.items():
        if own in folder.parents:
            raise LedgerError(
                f"the images of {other} lie in a folder below that of {request.id}; purge {other} first"
            )
    return own not in folders.values()
