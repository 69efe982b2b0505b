"""The first look at a request: does the model's data know its target, and are the images that it brings there?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from razor_pipeline.datasets.images import SUFFIXES
from razor_pipeline.requests import ids
from razor_pipeline.requests.intake import Intake
from razor_pipeline.requests.ledger import SYSTEM, Ledger
from razor_pipeline.requests.states import Status
from razor_pipeline.splitting import parse_targets, resolve_targets


def check_target(listing: pd.DataFrame, intake: Intake) -> None:
    """Whether the target is known, before anything is recorded; one that brings its images may be new.

    Raises:
        SplittingError: it is not in the data; suggests the nearest.
    """
    strangers = set(listing.loc[listing["role"] == "reference", "label"])
    if intake.data is None and intake.target not in strangers:
        resolve_targets(listing, parse_targets(intake.target))


def validate(ledger: Ledger, model: str, data_root: Path) -> dict[str, str | None]:
    """Validate what has been received; a request whose images are missing stays received until they are there.

    Returns:
        Request id -> what is missing, None where it is validated now.
    """
    found: dict[str, str | None] = {}
    for request in ledger.requests(model, Status.RECEIVED):
        missing = _missing(request.data, data_root)
        found[request.id] = missing
        if missing is None:
            with ledger.writing() as session:
                ledger.move(session, ledger.get(request.id, session), Status.VALIDATED, SYSTEM)
    return found


def _missing(data: str | None, data_root: Path) -> str | None:
    if data is None:
        return None
    try:
        folder = ids.data_folder(data, data_root)
    except ids.IdError as error:
        return str(error)
    images = [path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES] if folder.is_dir() else []
    return None if images else f"its data folder holds no image yet ({', '.join(SUFFIXES)}); put them there"
