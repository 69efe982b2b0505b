"""Checking evidence long after: signature, hashes, the audit log, and that base + edit is the promoted model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from razor_pipeline.core.weight_edit import EditMismatchError
from razor_pipeline.datasets.pretrained import PretrainedDataset
from razor_pipeline.datasets.weight_edit import load_edit
from razor_pipeline.requests import audit, chain, evidence, signing
from razor_pipeline.requests.audit import Anchor
from razor_pipeline.requests.chain import EDIT, EVIDENCE, MODEL, WITHOUT
from razor_pipeline.requests.gates import Gate
from razor_pipeline.requests.ledger import Ledger, LedgerError
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.tables import AuditLine, Request, Version


@dataclass(frozen=True)
class _Made:
    """A model that an edit made of a version.

    Attributes:
        folder: of model and evidence.
        weights: their sha256, as the ledger has it.
        parent: the version.
        subject: what its evidence has to be of: the request, or ``without`` one that was taken out.
        failed: whether it failed a gate. Its weights serve nobody and may be deleted; the edit makes them again.
    """

    folder: Path
    weights: str
    parent: Version
    subject: str
    failed: bool = False


def verify_request(ledger: Ledger, name: str, public_key: Path, folder: Path) -> list[tuple[str, str | None]]:
    """Every check of the version that a request made, with its fault; None where it holds.

    Of a request that made none, its last attempt that failed a gate is checked instead.

    Args:
        ledger: of the requests.
        name: of the request.
        public_key: of the key that signed.
        folder: of the versions.

    Raises:
        LedgerError: the request is unknown, or nothing of it was ever measured.
    """
    request = ledger.get(name)
    with ledger.reading() as session:
        if request.version is not None:
            made = chain.version(session, request.model, request.version)
            found = _of_version(session, made) if made is not None else None
        else:
            found = _last_failed(session, request, folder)
    if found is None:
        raise LedgerError(
            f"{name} is {request.status}, and no model was made for it and measured; there is nothing to verify"
        )
    return _checks(ledger, found, public_key)


def verify_champion(ledger: Ledger, model: str, public_key: Path) -> list[tuple[str, str | None]]:
    """:func:`verify_request` of the version that serves, one that took an edit out included.

    Raises:
        LedgerError: the line has no model yet, or its base model serves.
    """
    with ledger.reading() as session:
        serving = chain.champion(session, model)
        if serving.parent is None:
            raise LedgerError(f"the base model of '{model}' serves; there is nothing to verify")
        found = _of_version(session, serving)
    return _checks(ledger, found, public_key)


def _of_version(session: Session, made: Version) -> _Made:
    assert made.parent is not None
    parent = chain.version(session, made.model, made.parent)
    assert parent is not None
    gone = [name for name in chain.edits_of(parent) if name not in chain.edits_of(made)]
    return _Made(Path(made.path), made.weights, parent, made.request or WITHOUT + " ".join(gone))


def _last_failed(session: Session, request: Request, folder: Path) -> _Made | None:
    """The last attempt of a request that failed a gate, as the audit log has it."""
    lines = select(AuditLine.details).where(AuditLine.request == request.id).order_by(AuditLine.seq.desc())
    for details in session.scalars(lines):
        told = _told(details)
        if told.get("to") == Status.FAILED and {"evidence", "weights", "parent"} <= set(told):
            parent = chain.version(session, request.model, told["parent"])
            assert parent is not None
            made = folder / request.model / told["evidence"]
            return _Made(made, told["weights"], parent, request.id, failed=True)
    return None


def _checks(ledger: Ledger, made: _Made, public_key: Path) -> list[tuple[str, str | None]]:
    proof, model = made.folder / EVIDENCE, made.folder / MODEL
    found: list[tuple[str, str | None]] = []

    def hold(what: str, check: Callable[[], str | None]) -> None:
        try:
            fault = check()
        except Exception as error:  # a spoilt file fails in as many ways as it has readers; each is a fault
            fault = str(error) or type(error).__name__
        found.append((what, fault))

    hold("the signature covers every file of the evidence", lambda: signing.verify(proof, public_key))
    hold("the evidence is of this model", lambda: _of_this_model(made))
    hold("its gates let it serve, or kept it from serving", lambda: _let_through(made))
    hold("the audit log contains the line that the evidence is anchored to", lambda: _anchored(ledger, proof))
    if model.exists() or not made.failed:
        hold("the model is the one that was measured", lambda: _is(model, made.weights))
    hold(
        "the model that it was made from is unchanged",
        lambda: _is(chain.model_directory(made.parent), made.parent.weights),
    )
    hold("that model plus the edit is this model", lambda: _composes(made))
    return found


def _of_this_model(made: _Made) -> str | None:
    record = evidence.read(made.folder / EVIDENCE)
    told = [record["edited_weights_sha256"], record["parent"]["weights"], record["parent"]["edits"]]
    known = [made.weights, made.parent.weights, chain.edits_of(made.parent)]
    if told != known:
        return "the weights that it names are not those of the ledger"
    if record["request"] != made.subject:
        return f"it is of {record['request']}, and the ledger says {made.subject}"
    return None


def _let_through(made: _Made) -> str | None:
    """Held against the measured values themselves: who can write to the database can let serve what failed."""
    record = evidence.read(made.folder / EVIDENCE)
    told = [{name: part for name, part in gate.items() if name != "passed"} for gate in record["gates"]]
    failed = [gate.name for gate in (Gate(**one) for one in told) if not gate.passed]
    outcome = record["outcome"]
    if made.failed:
        return None if outcome == "failed" else f"it failed, and its evidence says {outcome}"
    if failed or outcome == "failed":
        return (
            f"it serves or is to serve, and its evidence says that it failed: {', '.join(failed) or outcome}"
        )
    # Only what takes an edit out may serve unmeasured, where nothing is left that it could be measured by.
    unmeasured = outcome == "not_measured" and made.subject.startswith(WITHOUT)
    return None if told or unmeasured else "it was held against no gate"


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


def _is(directory: Path, weights: str) -> str | None:
    if chain.directory_sha256(directory) == weights:
        return None
    return f"the weights in {directory} are not those of the ledger; restore them from a backup"


def _composes(made: _Made) -> str | None:
    """What is saved is compared: the names of weights in files are not those that an edit knows."""
    edit = load_edit(made.folder / EVIDENCE / EDIT)
    family = str(edit.manifest["family"])
    source = str(chain.model_directory(made.parent))
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
        told = [(model, _told(details).get("evidence")) for details, model in session.execute(lines)]
    paths += [folder / model / name for model, name in told if isinstance(name, str)]
    found = [path / EVIDENCE for path in dict.fromkeys(path.absolute() for path in paths)]
    return [*audit.read_anchors(file), *(_anchor_or_fault(path) for path in found if path.is_dir())]


def _told(details: str) -> dict[str, Any]:
    """What an audit line tells; nothing where an altered one is unreadable, which its hash tells."""
    try:
        found = json.loads(details)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _anchor_or_fault(folder: Path) -> Anchor:
    try:
        return evidence_anchor(folder)
    except (ValueError, KeyError, TypeError):
        return Anchor(-1, "", f"the unreadable evidence {folder.parent.name}")
