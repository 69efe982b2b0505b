"""A line of models: its base, and every version that an edit made of an earlier one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from torch import Tensor

from razor_pipeline.core.components import ParameterSlice
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.datasets.atomic import replace_directory
from razor_pipeline.datasets.pretrained import PretrainedDataset, weight_files
from razor_pipeline.datasets.weight_edit import tensor_sha256
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.fingerprint import digest
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.requests.ledger import SYSTEM, Ledger, LedgerError
from razor_pipeline.requests.tables import Champion, Version

MODEL, EVIDENCE, EDIT = "model", "evidence", "edit"
MAKING = ".making-"
WITHOUT = "without "  # before a request's id: whom evidence is of where its edit was taken out


class ChainError(ValueError):
    """A model is not what the ledger says."""


def stored_tensors(directory: Path) -> dict[str, Tensor]:
    """All tensors of a model directory, by file and name, as stored.

    Raises:
        ChainError: it holds no safetensors file.
    """
    files = weight_files(directory)
    if not files:
        raise ChainError(f"{directory} holds no safetensors file; restore it from a backup")
    return {
        f"{file.relative_to(directory)}:{name}": tensor
        for file in files
        for name, tensor in load_file(file).items()
    }


def weights_sha256(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over all tensors by name: the same for the same weights, however a file lays them out."""
    return digest({name: [tensor_sha256(t), str(t.dtype), list(t.shape)] for name, t in tensors.items()})


def directory_sha256(directory: Path) -> str:
    """:func:`weights_sha256` of a model directory."""
    return weights_sha256(stored_tensors(directory))


def open_line(ledger: Ledger, model: str, base: ModelFamily) -> None:
    """Note the base model as version 0 and champion; or check that it is still the one that was noted.

    Raises:
        ChainError: the base model is another one than the line began with, or has no directory.
    """
    path = Path(base.origin.get("id") or "")
    if not path.is_dir():
        raise ChainError(
            f"the base model '{path}' is no directory; requests need one: download it and name it in model.source"
        )
    weights = directory_sha256(path)
    with ledger.writing() as session:
        first = version(session, model, 0)
        if first is None:
            session.add(Version(model=model, number=0, path=str(path), weights=weights, edits="[]"))
            session.add(Champion(model=model, number=0))
            ledger.note(session, SYSTEM, "line", model=model, weights=weights)
        elif first.weights != weights:
            raise ChainError(
                f"the base model '{path}' is not the one that the line '{model}' began with; put that one back, "
                "or begin a new line: another name of line in globals.yml"
            )
        elif first.path != str(path):  # the same model, somewhere else
            first.path = str(path)


def version(session: Session, model: str, number: int) -> Version | None:
    """A version of a line."""
    return session.scalars(
        select(Version).where(Version.model == model, Version.number == number)
    ).one_or_none()


def champion(session: Session, model: str) -> Version:
    """The version that serves.

    Raises:
        LedgerError: the line has none.
    """
    found = session.get(Champion, model)
    serving = version(session, model, found.number) if found else None
    if serving is None:
        raise LedgerError(f"the line '{model}' has no model yet; run `kedro unlearning run` once")
    return serving


def since(session: Session, serving: Version, request: str) -> list[Version]:
    """The versions from the one that a request made to the one that serves, oldest first.

    Raises:
        LedgerError: what serves does not hold the request's edit.
    """
    found = [serving]
    while found[0].request != request:
        parent = found[0].parent
        before = version(session, serving.model, parent) if parent is not None else None
        if before is None:
            raise LedgerError(
                f"version {serving.number} of '{serving.model}' does not hold the edit of {request}"
            )
        found.insert(0, before)
    return found


def next_number(session: Session, model: str) -> int:
    """Number of a line's next version."""
    return int(session.scalar(select(func.max(Version.number)).where(Version.model == model)) or 0) + 1


def version_folder(line: Path, subject: str, number: int, failed: int) -> Path:
    """Where a version with this number is made: never where an earlier one lies, or an attempt that failed its gates.

    Args:
        line: folder of the line.
        subject: id of the request, or what is taken out.
        number: of the version (:func:`next_number`); the same after a kill, as the lease keeps others from making one.
        failed: attempts of the subject that failed their gates, as the audit log has them; the same after a kill, too.
    """
    attempt = f"-attempt{failed + 1}" if failed else ""
    return line / f"{subject}-v{number}{attempt}"


def making_folder(folder: Path, owner: str) -> Path:
    """Where a worker writes model and evidence of the version in ``folder`` (:func:`put_in_place`).

    It is the worker's own: one that slept through its lease must not write over what another has let serve.
    """
    return folder / f"{MAKING}{owner}"


def save_model(model: ModelFamily, making: Path) -> str:
    """Write a model into :func:`making_folder`; sha256 of its weights as they are saved."""
    PretrainedDataset(family=model.name, source=str(making / MODEL)).save(model)
    return directory_sha256(making / MODEL)


def put_in_place(folder: Path, owner: str) -> None:
    """Move model and evidence to where the version lies, and remove what killed workers left.

    Only within a transaction that has checked the lease: until it ends, nobody else can take the lease over.
    """
    for part in (MODEL, EVIDENCE):
        with replace_directory(folder / part) as beside:
            (making_folder(folder, owner) / part).rename(beside)  # takes the place of an empty folder
    for left in folder.glob(f"{MAKING}*"):
        shutil.rmtree(left, ignore_errors=True)  # one that slept may write there again; it ends at its lease


def edits_of(found: Version) -> list[str]:
    """Ids of the requests whose edits are in a version, in their order."""
    ids: list[str] = json.loads(found.edits)
    return ids


def told(found: Version) -> dict[str, Any]:
    """What evidence says of the version that an edit starts from."""
    return {"number": found.number, "weights": found.weights, "edits": edits_of(found)}


def model_directory(found: Version) -> Path:
    """Where a version's weights are; version 0 is the base model itself."""
    return Path(found.path) if found.number == 0 else Path(found.path) / MODEL


def load_version(found: Version, base: ModelFamily) -> ModelFamily:
    """The model of a version, of the family and on the device of the line's base model.

    Raises:
        ChainError: its weights are not those that the ledger knows.
        DatasetError: it does not open.
    """
    directory = model_directory(found)
    if directory_sha256(directory) != found.weights:
        raise ChainError(
            f"version {found.number} of '{found.model}' in {directory} was altered; restore it from a backup"
        )
    model = PretrainedDataset(family=base.name, source=str(directory), device=str(base.device)).load()
    if isinstance(model, TextToImageFamily):
        assert isinstance(base, TextToImageFamily)
        model = model.begun_as(base)
    name = f"{found.model}/{found.number}"
    model.origin = {"family": model.name, "id": name, "revision": None, "sha256": found.weights}
    return model


def difference(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], manifest: dict[str, object]
) -> WeightEdit:
    """The edit from one set of weights to another: every tensor that differs, as a whole."""
    changed = [name for name in sorted(before) if not torch.equal(before[name], after[name])]
    slices = tuple(ParameterSlice(name) for name in changed)
    return WeightEdit(
        slices,
        {name: before[name].to("cpu", copy=True) for name in changed},
        {name: after[name].to("cpu", copy=True) for name in changed},
        (),
        manifest,
    )
