"""Taking a request's edit out of what serves: bit for bit where edits commute, else by recomposing the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from torch import Tensor

from razor_pipeline.core.weight_edit import EditMismatchError, WeightEdit
from razor_pipeline.datasets.weight_edit import load_edit
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.model_card import card_without
from razor_pipeline.requests import chain, evidence, examination, leases, signing
from razor_pipeline.requests.batch import gather, wait_for_line
from razor_pipeline.requests.chain import EDIT, EVIDENCE, WITHOUT
from razor_pipeline.requests.evidence import Evidence
from razor_pipeline.requests.gates import Gate, gates
from razor_pipeline.requests.ledger import LedgerError
from razor_pipeline.requests.states import Status, check
from razor_pipeline.requests.tables import AuditLine, Champion, Version
from razor_pipeline.requests.workplace import Workplace

REVERTED, RECOMPOSED = "reverted", "recomposed"
FAILED = "take_out_failed"  # in the audit log


def overlap(first: WeightEdit, other: WeightEdit) -> bool:
    """Whether two edits touch a weight in common."""
    for a in first.slices:
        for b in other.slices:
            if a.parameter != b.parameter:
                continue
            if a.dim is None or b.dim is None or a.dim != b.dim:
                return True
            if a.start < b.stop and b.start < a.stop:
                return True
    return False


def without(parameters: Mapping[str, Tensor], taken: WeightEdit, later: Sequence[WeightEdit]) -> str:
    """Take ``taken`` out of weights that hold it and, behind it, the ``later`` edits, in place.

    Where no later edit touches its weights, the old ones are written back bit for bit. Otherwise each weight that any
    of them touches becomes what it was before ``taken``, plus the sum of what the later edits added, in float64.

    Returns:
        ``reverted`` or ``recomposed``.

    Raises:
        EditMismatchError: the weights are not those that the edits lead to.
    """
    if not any(overlap(taken, edit) for edit in later):
        taken.revert(parameters)
        return REVERTED
    for edit in reversed(later):
        edit.revert(parameters)
    taken.revert(parameters)
    touched = {part.parameter for edit in later for part in edit.slices}
    exact = {name: parameters[name].detach().to(torch.float64) for name in touched}
    for edit in later:
        for part in edit.slices:
            added = edit.after[part.key].to(torch.float64) - edit.before[part.key].to(torch.float64)
            view = part.view(exact[part.parameter])
            view.add_(added.to(view.device))  # edits are loaded on the CPU
    dtype = next(iter(taken.after.values())).dtype
    with torch.no_grad():
        for name, tensor in exact.items():
            parameters[name].copy_(tensor.to(dtype))  # stored as the model is, so that saving loses nothing
    return RECOMPOSED


@dataclass(frozen=True)
class TakenOut:
    """How an edit was taken out.

    Attributes:
        how: ``reverted`` or ``recomposed`` (:func:`without`).
        version: the version that serves now; None where a gate failed and the old one goes on.
        gates: what was measured of a new version.
    """

    how: str
    version: int | None
    gates: list[Gate]


def take_out(place: Workplace, name: str, actor: str) -> TakenOut:
    """Take a promoted request's edit out of the champion; the new version serves if it passes the gates.

    Raises:
        LedgerError: the champion does not hold the request's edit, an edit behind it was changed, what is left of it
            cannot be measured, or another version serves by now.
        ChainError: the data of another edit in the champion cannot be used.
        TransitionError: the request is not promoted.
        LeaseError: another process works on the line.
    """
    signing.check_key(Path(place.params.private_key))
    wait_for_line(place)
    with leases.held(place.ledger, place.lease, place.params.lease_seconds) as owner:
        chain.open_line(place.ledger, place.params.model, place.base)
        with place.ledger.reading() as session:
            check(name, place.ledger.get(name, session).state, Status.ROLLED_BACK)
            serving = chain.champion(session, place.params.model)
            history = chain.since(session, serving, name)
        found = _take_out(place, name, serving, history, actor, owner)
        place.mirror()
        return found


def _take_out(
    place: Workplace, name: str, serving: Version, history: list[Version], actor: str, owner: str
) -> TakenOut:
    model, how, edit = _remade(place, name, serving, history)
    kept = [one for one in chain.edits_of(serving) if one != name]
    batch = gather(place, serving, kept, [name], owner)
    measured = [one for one in kept if one in batch.labels]
    # The target that is taken out tells nothing of those that are to stay forgotten.
    if how == RECOMPOSED and ((kept and not measured) or not batch.labels):
        raise LedgerError(
            f"the model without {name} cannot be measured, as no target that is to stay forgotten is known any more; "
            "let the previous version serve with `kedro unlearning rollback`"
        )
    earlier = [batch.labels[one] for one in measured]
    figures = batch.examiner.examine(model, None, earlier) if batch.labels else {}
    found = gates(figures, place.params.gates) if figures else []
    failed = [gate.name for gate in found if not gate.passed]
    with place.ledger.reading() as session:
        number, before = chain.next_number(session, serving.model), _failed(session, name)
    folder = chain.version_folder(place.folder, f"without-{name}", number, before)
    model.card = card_without(model.origin, name, how, kept, model.name)
    making = chain.making_folder(folder, owner)
    weights = chain.save_model(model, making)
    told = Evidence(
        subject=WITHOUT + name,
        model=place.params.model,
        parent=chain.told(serving),
        weights=weights,
        edit=edit,
        figures=examination.plain(figures),
        gates=found,
        outcome=("failed" if failed else "passed") if found else "not_measured",
        data=evidence.data_digests(batch.examiner.samples) if found else {},
        parameters=place.examination,
        anchor=place.ledger.head(),
        card=model.card,
        earlier_not_measured=[one for one in kept if one not in measured],
        measured_on=batch.examiner.measured_on if found else evidence.IMAGES,
    )
    evidence.write(told, making / EVIDENCE, Path(place.params.private_key))
    if failed:
        _note_failure(place, name, folder, failed, actor, owner)
        return TakenOut(how, None, found)
    accuracy = figures["edited"]["retain_accuracy"].value if figures else None
    made = Version(path=str(folder), weights=weights, edits=json.dumps(kept), retain_accuracy=accuracy)
    return TakenOut(how, _serve(place, made, serving, name, how, actor, owner), found)


def _remade(
    place: Workplace, name: str, serving: Version, history: list[Version]
) -> tuple[ModelFamily, str, WeightEdit]:
    """The champion's model without the request's edit, how it was taken out, and what that changed."""
    taken, *later = (load_edit(Path(version.path) / EVIDENCE / EDIT) for version in history)
    _check_edits(place, serving, history, [taken, *later])
    model = chain.load_version(serving, place.base)
    before = _stored(model)
    how = without(dict(model.module.named_parameters()), taken, later)
    manifest: dict[str, object] = {
        "method": how,
        "family": model.name,
        "base_model": model.origin,
        "targets": [],
        "taken_out": name,
    }
    return model, how, chain.difference(before, _stored(model), manifest)


def _check_edits(
    place: Workplace, serving: Version, history: Sequence[Version], edits: Sequence[WeightEdit]
) -> None:
    """Refuse edits that do not lead back to weights that the ledger knows: what they put back would be signed.

    Raises:
        LedgerError: one of them was changed.
    """
    model = chain.load_version(serving, place.base)
    parameters = dict(model.module.named_parameters())
    with place.ledger.reading() as session:
        assert history[0].parent is not None
        before = chain.version(session, serving.model, history[0].parent)
    assert before is not None
    try:
        for edit in reversed(edits):
            edit.revert(parameters)
    except EditMismatchError as error:
        fault: str | None = str(error)
    else:
        with TemporaryDirectory() as folder:
            same = chain.save_model(model, Path(folder)) == before.weights
        fault = None if same else "they lead to other weights"
    if fault:
        raise LedgerError(
            f"the edits of versions {history[0].number} to {serving.number} do not lead back to version "
            f"{before.number} ({fault}); find the one that was changed with `kedro unlearning verify` and restore its "
            "evidence from a backup, or let the previous version serve with `kedro unlearning rollback`"
        )


def _stored(model: ModelFamily) -> dict[str, Tensor]:
    """A copy of all parameters as they are saved."""
    parameters = model.module.named_parameters()
    return {name: tensor.detach().to(model.stored_dtype).clone() for name, tensor in parameters}


def _failed(session: Session, name: str) -> int:
    """How often the model without a request's edit has failed its gates."""
    query = select(func.count()).where(AuditLine.request == name, AuditLine.action == FAILED)
    return session.scalars(query).one()


def _note_failure(
    place: Workplace, name: str, folder: Path, failed: list[str], actor: str, owner: str
) -> None:
    """Keep the model that does not serve, with its evidence, and note the gates that it failed."""
    with place.ledger.writing() as session:
        leases.check(session, place.lease, owner)
        request = place.ledger.get(name, session)
        place.ledger.note(session, actor, FAILED, request, gates=failed, evidence=folder.name)
        chain.put_in_place(folder, owner)


def _serve(
    place: Workplace, made: Version, serving: Version, name: str, how: str, actor: str, owner: str
) -> int:
    """Let the new version serve and note that the request was rolled back, in one transaction."""
    with place.ledger.writing() as session:
        leases.check(session, place.lease, owner)
        # An approval or a bare rollback needs no lease.
        if chain.champion(session, serving.model).number != serving.number:
            raise LedgerError(f"another version of '{serving.model}' serves now; run the rollback again")
        made.model, made.parent = serving.model, serving.number
        made.number = chain.next_number(session, serving.model)
        session.add(made)
        session.get_one(Champion, serving.model).number = made.number
        request = place.ledger.get(name, session)
        place.ledger.move(
            session,
            request,
            Status.ROLLED_BACK,
            actor,
            how,
            version=made.number,
            weights=made.weights,
            evidence=Path(made.path).name,
        )
        chain.put_in_place(Path(made.path), owner)
        return made.number
