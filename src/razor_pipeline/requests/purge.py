"""Removing what is personal from a finished request, while the evidence stays."""

from __future__ import annotations

import shutil
from pathlib import Path

from razor_pipeline.requests import ids
from razor_pipeline.requests.ledger import Ledger, LedgerError
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.tables import Request

OVER = (Status.PROMOTED, Status.REJECTED, Status.NO_BASELINE, Status.ROLLED_BACK)


def purge(ledger: Ledger, name: str, actor: str, data_root: Path) -> Request:
    """Delete the target's name and the images that the request brought along; it cannot be undone.

    Later requests are then not measured against this target any more, and their reports say so.

    Raises:
        LedgerError: the request is unknown, not finished, or purged already.
        IdError: the folder holds a symbolic link.
    """
    request = ledger.get(name)
    if request.state not in OVER:
        raise LedgerError(f"{name} is {request.status}; only a finished request is purged: {', '.join(OVER)}")
    if request.purged:
        raise LedgerError(f"{name} was purged at {request.purged} already")
    if request.data is not None:
        folder = ids.data_folder(request.data, data_root)
        if folder.is_dir():
            shutil.rmtree(folder)
    with ledger.writing() as session:
        request = ledger.get(name, session)
        request.target = request.data = request.nonce = None
        request.purged = ledger.clock().isoformat(timespec="seconds")
        ledger.note(session, actor, "purge", request)
        return request
