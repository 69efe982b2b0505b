"""Where the ledger is, and what lies beside the reports."""

from __future__ import annotations

import os
from pathlib import Path

from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.requests.database import open_database
from razor_pipeline.requests.ledger import Ledger

LEDGER = "RAZOR_LEDGER"
ANCHORS, DASHBOARD = "audit_anchors.txt", "dashboard.html"
SQLITE = "sqlite:///"
PATHS = ("folder", "reports", "data_root", "private_key", "public_key")


def open_ledger(params: RequestsParams) -> Ledger:
    """The ledger of the parameters, or of the environment variable ``RAZOR_LEDGER``.

    Raises:
        ConnectionError: it cannot be opened.
    """
    return Ledger(open_database(os.environ.get(LEDGER) or params.ledger))


def at(params: RequestsParams, project: Path) -> RequestsParams:
    """The parameters with paths that begin at the project, wherever the command was typed."""
    url = params.ledger
    if url.startswith(SQLITE):
        url = f"{SQLITE}{project / url.removeprefix(SQLITE)}"
    return params.model_copy(
        update={name: str(project / getattr(params, name)) for name in PATHS} | {"ledger": url}
    )
