"""The first look at a request: does the model's data know its target, and are the images that it brings there?"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from razor_pipeline.datasets.images import SUFFIXES, sorted_out
from razor_pipeline.params.data import Concept
from razor_pipeline.params.requests import GateParams
from razor_pipeline.requests import ids
from razor_pipeline.requests.intake import Intake
from razor_pipeline.requests.ledger import SYSTEM, Ledger, LedgerError
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.tables import Champion
from razor_pipeline.splitting import parse_targets, resolve_targets

DRAW = ("diffusion", "diffusion_deep", "diffusion3", "diffusion3_deep")  # families whose models draw
SERVED = ("clip", "vit", "vlm", *DRAW)  # families whose examiners ask all that their models could give away


def check_family(family: str, judges: Collection[object], gates: GateParams) -> None:
    """Refuse a model that nobody could examine: of another family, or one that draws where nobody looks.

    Raises:
        LedgerError: it is of a family that takes no requests; or it draws, and no judge is named or a gate asks for
            steps to relearn.
    """
    if family not in SERVED:
        raise LedgerError(
            f"requests are for models of the families {', '.join(SERVED)}, and this environment's is of the family "
            f"'{family}'; name another one with --env"
        )
    if family not in DRAW:
        return
    if not judges:
        raise LedgerError(
            f"a model of the family '{family}' draws, and globals.yml names no judges who say what its drawings show; "
            "name classifiers there under judges"
        )
    if gates.min_relearn_steps:
        raise LedgerError(
            f"requests.gates.min_relearn_steps is {gates.min_relearn_steps}, and how soon a model learns again is "
            "not measured of one that draws; set it to 0"
        )


def known_label(listing: pd.DataFrame, target: str, concept: Concept | None = None) -> str:
    """The label that a request's target means, one that the base model never saw included.

    Args:
        listing: rows with ``label, prompt, role``, such as the manifest of the model's data.
        target: label or caption, in any letter case.
        concept: ``data.concept``, for a refusal to say what else a name would be.

    Raises:
        SplittingError: it is not in the data; suggests the nearest.
    """
    [label] = resolve_targets(listing.assign(role="retain"), parse_targets(target), concept)
    return label


def check_target(listing: pd.DataFrame, intake: Intake, family: str, concept: Concept | None = None) -> None:
    """Refuse an unknown target, before anything is recorded; one that brings its images may be new.

    Args:
        listing: see :func:`known_label`.
        intake: the request.
        family: of the line's model.
        concept: see :func:`known_label`.

    Raises:
        SplittingError: it is not in the data; suggests the nearest.
        LedgerError: it brings images to a model that draws.
    """
    check_brought(intake.data, family)
    if intake.data is None:
        known_label(listing, intake.target, concept)


def check_brought(data: str | None, family: str) -> None:
    """Refuse images that a request brings to a model that draws.

    Args:
        data: folder of the images; None for none.
        family: of the line's model.

    Raises:
        LedgerError: it draws.
    """
    if data is not None and family in DRAW:
        raise LedgerError(
            f"the request brings images (data: {data}), and a model of the family '{family}' forgets what "
            "prompts of its data name; submit it without them"
        )


def check_line(ledger: Ledger, own: str, model: str) -> None:
    """Refuse a line that nobody runs: a request for a misspelt one would wait until its deadline has passed.

    Args:
        ledger: of the requests.
        own: line of this environment, which may have no model yet.
        model: line of the request.

    Raises:
        LedgerError: it is another one, and has no model.
    """
    with ledger.reading() as session:
        if model != own and session.get(Champion, model) is None:
            raise LedgerError(
                f"the line '{model}' has no model, and this environment's is '{own}'; correct the name, "
                "or name the line's environment with --env"
            )


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
                now = ledger.get(request.id, session)
                if now.state is Status.RECEIVED:  # nobody else who submits has validated it meanwhile
                    ledger.move(session, now, Status.VALIDATED, SYSTEM)
    return found


def brought_images(data: str, data_root: Path) -> tuple[list[Path], list[str]]:
    """The images in a request's data folder, sorted, and why others in it are not read; none without such a folder.

    Raises:
        IdError: the folder's path is refused.
    """
    folder = ids.data_folder(data, data_root)
    images, others = sorted_out(folder) if folder.is_dir() else ([], [])
    return images, [reason for _, reason in others]


def _missing(data: str | None, data_root: Path) -> str | None:
    if data is None:
        return None
    try:
        images, _ = brought_images(data, data_root)
    except ids.IdError as error:
        return str(error)
    return None if images else f"its data folder holds no image yet ({', '.join(SUFFIXES)}); put them there"
