"""Checking evidence long after: signature, hashes, the audit log, and that base + edit is the promoted model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import select

from razor_pipeline.core.weight_edit import EditMismatchError
from razor_pipeline.datasets.pretrained import PretrainedDataset
from razor_pipeline.datasets.weight_edit import load_edit
from razor_pipeline.requests import audit, chain, evidence, signing
from razor_pipeline.requests.audit import Anchor
from razor_pipeline.requests.chain import EDIT, EVIDENCE
from razor_pipeline.requests.ledger import Ledger, LedgerError
from razor_pipeline.requests.tables import AuditLine, Request, Version


def verify_request(ledger: Ledger, name: str, public_key: Path) -> list[tuple[str, str | None]]:
    """Every check of the version that a request made, with its fault; None where it holds.

    Raises:
        LedgerError: the request is unknown or has made no version.
    """
    request = ledger.get(name)
    with ledger.reading() as session:
        made = chain.version(session, request.model, request.version) if request.version is not None else None
    if made is None:
        raise LedgerError(f"{name} is {request.status} and has made no version; there is nothing to verify")
    return _checks(ledger, made, public_key)


def verify_champion(ledger: Ledger, model: str, public_key: Path) -> list[tuple[str, str | None]]:
    """:func:`verify_request` of the version that serves, one that took an edit out included.

    Raises:
        LedgerError: the line has no model yet, or its base model serves.
    """
    with ledger.reading() as session:
        serving = chain.champion(session, model)
    if serving.parent is None:
        raise LedgerError(f"the base model of '{model}' serves; there is nothing to verify")
    return _checks(ledger, serving, public_key)


def _checks(ledger: Ledger, made: Version, public_key: Path) -> list[tuple[str, str | None]]:
    assert made.parent is not None
    with ledger.reading() as session:
        parent = chain.version(session, made.model, made.parent)
    assert parent is not None
    folder = Path(made.path) / EVIDENCE
    found: list[tuple[str, str | None]] = []

    def hold(what: str, check: Callable[[], str | None]) -> None:
        try:
            fault = check()
        except Exception as error:  # a spoilt file fails in as many ways as it has readers; each is a fault
            fault = str(error) or type(error).__name__
        found.append((what, fault))

    hold("the signature covers every file of the evidence", lambda: signing.verify(folder, public_key))
    hold("the evidence is of this version", lambda: _of_this_version(folder, made, parent))
    hold(
        "the audit log contains the line that the evidence is anchored to", lambda: _anchored(ledger, folder)
    )
    hold("the model is the one that was measured", lambda: _is(made))
    hold("the model that it was made from is unchanged", lambda: _is(parent))
    hold("that model plus the edit is this model", lambda: _composes(made, parent, folder))
    return found


def _of_this_version(folder: Path, made: Version, parent: Version) -> str | None:
    record = evidence.read(folder)
    told = [record["edited_weights_sha256"], record["parent"]["weights"], record["parent"]["edits"]]
    known = [made.weights, parent.weights, chain.edits_of(parent)]
    return None if told == known else "the weights that it names are not those of the ledger"


def _anchored(ledger: Ledger, folder: Path) -> str | None:
    anchor = evidence_anchor(folder)
    with ledger.reading() as session:
        line = session.get(AuditLine, anchor.seq)
    return None if line is not None and line.sha256 == anchor.sha256 else f"line {anchor.seq} is another one"


def evidence_anchor(folder: Path) -> Anchor:
    """The audit line that an evidence folder vouches for.

    Raises:
        ValueError: the folder cannot be read.
    """
    anchor = evidence.read(folder)["audit_anchor"]
    return Anchor(int(anchor["line"]), str(anchor["sha256"]), f"the evidence {folder.parent.name}")


def _is(version: Version) -> str | None:
    directory = chain.model_directory(version)
    if chain.directory_sha256(directory) == version.weights:
        return None
    return f"the weights in {directory} are not those of the ledger; restore them from a backup"


def _composes(made: Version, parent: Version, folder: Path) -> str | None:
    """What is saved is compared: the names of weights in files are not those that an edit knows."""
    edit = load_edit(folder / EDIT)
    family = str(edit.manifest["family"])
    source = str(chain.model_directory(parent))
    model = PretrainedDataset(family=family, source=source, device="cpu").load()
    try:
        edit.apply(dict(model.module.named_parameters()))
    except EditMismatchError as error:
        return str(error)
    with TemporaryDirectory() as place:
        composed = Path(place) / "model"
        PretrainedDataset(family=family, source=str(composed)).save(model)
        same = chain.directory_sha256(composed) == made.weights
    return None if same else "applying the edit gives other weights"


def anchors(ledger: Ledger, file: Path, folder: Path) -> list[Anchor]:
    """Every line that something outside of the database vouches for: the anchor file, and all evidence folders.

    Args:
        ledger: of the requests.
        file: of the anchors.
        folder: of the versions. The evidence of an attempt that failed its gates lies there, and has no version.
    """
    with ledger.reading() as session:
        paths = [Path(version.path) for version in session.scalars(select(Version)) if version.number]
        lines = select(AuditLine.details, Request.model).join(Request, AuditLine.request == Request.id)
        told = [(model, _evidence_told(details)) for details, model in session.execute(lines)]
    paths += [folder / model / name for model, name in told if name]
    found = [path / EVIDENCE for path in dict.fromkeys(path.absolute() for path in paths)]
    return [*audit.read_anchors(file), *(_anchor_or_fault(path) for path in found if path.is_dir())]


def _evidence_told(details: str) -> str | None:
    """The folder that an audit line names; None where an altered one is unreadable, which its hash tells."""
    try:
        name = json.loads(details).get("evidence")
    except (ValueError, AttributeError):
        return None
    return name if isinstance(name, str) else None


def _anchor_or_fault(folder: Path) -> Anchor:
    try:
        return evidence_anchor(folder)
    except (ValueError, KeyError, TypeError):
        return Anchor(-1, "", f"the unreadable evidence {folder.parent.name}")
