"""Where the ledger is, whose the folders beside it are, and what lies in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.requests.audit import Anchor, read_anchors
from razor_pipeline.requests.database import open_database
from razor_pipeline.requests.ledger import Ledger, LedgerError

LEDGER = "RAZOR_LEDGER"
ANCHORS, DASHBOARD = "audit_anchors.txt", "dashboard.html"
OWNER = "ledger.txt"  # in a folder: sha256 of the first audit line of the ledger that it belongs to
SQLITE = "sqlite:///"
PATHS = ("folder", "reports", "data_root", "private_key", "public_key")


def connect(params: RequestsParams) -> Ledger:
    """The ledger of the parameters, or of the environment variable ``RAZOR_LEDGER``, whosever the folders are.

    Raises:
        ConnectionError: it cannot be opened.
    """
    return Ledger(open_database(os.environ.get(LEDGER) or params.ledger))


def open_ledger(params: RequestsParams) -> Ledger:
    """:func:`connect`, where the folders are this ledger's or nobody's yet.

    Raises:
        ConnectionError: it cannot be opened.
        LedgerError: versions or reports are another ledger's: ids and line numbers begin anew in each, so that one
            would write over the other's evidence, and its anchors would accuse the other.
    """
    ledger = connect(params)
    if other := others(ledger, params):
        raise LedgerError(other[0])
    return ledger


def own(ledger: Ledger, params: RequestsParams) -> None:
    """Note in the folders of versions and reports that they are this ledger's, once it has a line.

    Raises:
        LedgerError: one of them is another's.
    """
    if other := others(ledger, params):
        raise LedgerError(other[0])
    first = ledger.first()
    for folder in _folders(params) if first else ():
        if not (folder / OWNER).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / OWNER).write_text(f"{first}\n", encoding="utf-8")


def others(ledger: Ledger, params: RequestsParams) -> list[str]:
    """A sentence for each folder that another ledger owns."""
    return [
        f"{folder} belongs to another ledger, or line 1 of this one was altered: name the ledger that made it in "
        f"requests.ledger or {LEDGER}, or give this one a requests.folder and a requests.reports of its own"
        for folder in _folders(params)
        if not _fits(ledger, params, folder)
    ]


def _folders(params: RequestsParams) -> tuple[Path, ...]:
    return tuple(dict.fromkeys((Path(params.folder), Path(params.reports))))


def _fits(ledger: Ledger, params: RequestsParams, folder: Path) -> bool:
    owner = folder / OWNER
    if owner.is_file():
        return owner.read_text(encoding="utf-8").strip() == ledger.first()
    # Of an earlier version, or nobody's: its earliest anchor tells, which a ledger from an older backup has as well.
    found = read_anchors(folder / ANCHORS) if folder == Path(params.reports) else []
    found += _vouched(folder) if folder == Path(params.folder) else []
    earliest = min(
        (anchor for anchor in found if anchor.seq > 0), key=lambda anchor: anchor.seq, default=None
    )
    return earliest is None or ledger.sha256_of(earliest.seq) == earliest.sha256


def _vouched(folder: Path) -> Iterator[Anchor]:
    """The lines that the evidence of versions in a folder vouches for, as far as it can be read."""
    for evidence in sorted(folder.glob("*/*-v*/evidence")):
        from razor_pipeline.requests.verification import evidence_anchor  # slow, and seldom needed

        try:
            yield evidence_anchor(evidence)
        except (ValueError, KeyError, TypeError):
            continue


def at(params: RequestsParams, project: Path) -> RequestsParams:
    """The parameters with paths that begin at the project, wherever the command was typed."""
    url = params.ledger
    if url.startswith(SQLITE):
        url = f"{SQLITE}{project / url.removeprefix(SQLITE)}"
    return params.model_copy(
        update={name: str(project / getattr(params, name)) for name in PATHS} | {"ledger": url}
    )
