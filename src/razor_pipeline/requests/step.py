"""One request of a batch: edit, examine, hold against the gates, write the evidence, promote."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kedro.io import DatasetError
from sqlalchemy import select
from sqlalchemy.orm import Session

from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.datasets.atomic import replace_directory
from razor_pipeline.datasets.retrained import whole
from razor_pipeline.datasets.weight_edit import load_edit, save_edit
from razor_pipeline.fingerprint import code_sha256, digest, environment
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.manifest import manifest_sha256
from razor_pipeline.model_card import model_card
from razor_pipeline.requests import chain, evidence, examination, forgetting, leases, promotion
from razor_pipeline.requests.chain import EDIT, EVIDENCE
from razor_pipeline.requests.evidence import Evidence
from razor_pipeline.requests.gates import Gate, gates
from razor_pipeline.requests.ledger import SYSTEM
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.tables import AuditLine, Version
from razor_pipeline.requests.workplace import OpenBatch, sayable, start

logger = logging.getLogger(__name__)
LONGEST_REASON = 500
GATES = "gates: "  # how the reason of an attempt begins that failed by them, and so has evidence


def work(batch: OpenBatch, name: str, owner: str) -> None:
    """Bring one request to its end; a failure is noted with the request, and the others go on.

    Raises:
        LeaseError: another process took the line over.
        ChainError: the champion is not what the ledger knows: no request's fault, so that none fails by it.
        DatasetError: the champion does not open.
    """
    step = _Step(batch, name, owner)
    step.open_champion()
    try:
        step.run()
    except (leases.LeaseError, chain.ChainError):
        raise
    except Exception as error:
        ledger = batch.place.ledger
        known, brought = set(batch.manifest["label"]), Path(batch.place.params.data_root)
        reason = f"{type(error).__name__}: {sayable(error, ledger.get(name), known, brought)}"
        logger.error("%s failed (%s)", name, reason)  # noqa: TRY400 - the traceback may hold the target's name
        logger.debug("%s failed", name, exc_info=True)
        with ledger.writing() as session:
            leases.check(session, batch.place.lease, owner)
            ledger.move(session, ledger.get(name, session), Status.FAILED, SYSTEM, reason[:LONGEST_REASON])


@dataclass
class _Step:
    batch: OpenBatch
    name: str
    owner: str
    parent: Version = field(init=False)
    model: ModelFamily = field(init=False)

    def open_champion(self) -> None:
        """Load what the edit starts from, before the request is started."""
        place = self.batch.place
        with place.ledger.reading() as session:
            self.parent = chain.champion(session, place.params.model)
        self.model = chain.load_version(self.parent, place.base)

    def run(self) -> None:
        place, ledger = self.batch.place, self.batch.place.ledger
        parent, model = self.parent, self.model
        with ledger.writing() as session:
            leases.check(session, place.lease, self.owner)
            start(ledger, session, ledger.get(self.name, session))
            number = chain.next_number(session, parent.model)
            folder = chain.version_folder(place.folder, self.name, number, _failed(session, self.name))
        promotion.check_not_in(parent, self.name)
        label = self.batch.labels[self.name]
        known = self.batch.examiner.knows(label)
        if known.value <= place.params.gates.max_forget_accuracy:
            self._end(
                Status.NO_BASELINE, "the base model does not recognise the target", recognised=known.value
            )
            return
        logger.info("%s: forgetting, from version %d", self.name, parent.number)
        edit = self._edit(model, parent, folder)
        edit.apply(dict(model.module.named_parameters()))
        found = self._examine(model, parent, label)
        model.card = model_card(
            edit.manifest["base_model"], (), "razor", edit.components, edit.manifest["seed"], model.name
        )
        making = chain.making_folder(folder, self.owner)
        weights = chain.save_model(model, making)
        self._write_evidence(making, parent, edit, found, weights, model.card)
        logger.info("%s: %s", self.name, "a gate failed" if found.failed else "every gate passed")
        if found.failed:
            reason = GATES + "; ".join(found.failed)
            self._end(Status.FAILED, reason, folder, weights=weights, parent=parent.number)
        else:
            self._verified(parent, folder, weights, found)

    def _edit(self, model: ModelFamily, parent: Version, folder: Path) -> WeightEdit:
        """The edit; the one on disk where a killed run left it and it was made from the same."""
        protocol, batch = self.batch.place.protocol, self.batch
        made_from = self._made_from(parent)
        left = _left_by_a_killed_run(folder / EDIT, made_from)
        if left is not None:
            return left
        earlier = batch.earlier(parent)
        labels = [batch.labels[name] for name in earlier]
        result = forgetting.forget(
            model,
            batch.manifest,
            batch.labels[self.name],
            labels,
            protocol,
            batch.shared,
            batch.place.base,
            batch.see,
        )
        manifest: dict[str, Any] = {
            **result.edit.manifest,
            "family": model.name,
            "base_model": model.origin,
            "targets": [self.name],
            "earlier": earlier,
            "parameters": protocol.razor.model_dump(mode="json"),
            "seed": protocol.seed,
            "code_version": evidence.code()["version"],
            "stop_reason": str(result.stop_reason),
            "rounds": result.rounds,
            "made_from": made_from,
        }
        edit = replace(result.edit, manifest=manifest)
        with replace_directory(folder / EDIT) as beside:
            save_edit(edit, beside)
        return edit

    def _made_from(self, parent: Version) -> str:
        """Everything that decides the edit, as one hash; no name is in it."""
        protocol, batch = self.batch.place.protocol, self.batch
        samples = batch.examiner.samples
        images = [
            sorted(samples.loc[samples["label"] == batch.labels[name], "sha256"])
            for name in (self.name, *batch.earlier(parent))
        ]
        return digest(
            [
                code_sha256(__name__),  # which reaches families and judges, as methods do not
                environment(),
                parent.weights,
                [batch.parent.weights, batch.ids],
                images,
                manifest_sha256(batch.manifest),
                protocol.splitting,
                protocol.razor,
                protocol.seed,
                [whole(judge) for judge in batch.place.judges.values()],
                batch.place.evaluation.drawing,
            ]
        )

    def _examine(self, model: ModelFamily, parent: Version, label: str) -> Measured:
        earlier = [self.batch.labels[name] for name in self.batch.earlier(parent)]
        limits = self.batch.place.params.gates
        figures = self.batch.examiner.examine(model, label, earlier, limits.min_relearn_steps)
        return Measured(figures, gates(figures, limits))

    def _write_evidence(
        self, making: Path, parent: Version, edit: WeightEdit, found: Measured, weights: str, card: str
    ) -> None:
        place, batch = self.batch.place, self.batch
        samples = batch.examiner.samples
        kept = samples["role"] != "forget"
        own = samples[kept | (samples["label"] == batch.labels[self.name])]
        evidence.write(
            Evidence(
                subject=self.name,
                model=place.params.model,
                parent=chain.told(parent),
                weights=weights,
                edit=edit,
                figures=examination.plain(found.figures),
                gates=found.gates,
                outcome="failed" if found.failed else "passed",
                data=evidence.data_digests(own),
                parameters={
                    "razor": place.protocol.razor.model_dump(mode="json"),
                    "splitting": place.protocol.splitting.model_dump(mode="json"),
                    "seed": place.protocol.seed,
                    **place.examination,
                },
                anchor=place.ledger.head(),
                card=card,
                earlier_not_measured=[n for n in chain.edits_of(parent) if n not in batch.labels],
                measured_on=batch.examiner.measured_on,
                not_checked=batch.examiner.not_checked,
            ),
            making / EVIDENCE,
            Path(place.params.private_key),
        )

    def _verified(self, parent: Version, folder: Path, weights: str, found: Measured) -> None:
        """Note the version and, where no approval is awaited, let it serve in the same transaction."""
        place = self.batch.place
        with place.ledger.writing() as session:
            leases.check(session, place.lease, self.owner)
            request = place.ledger.get(self.name, session)
            made = Version(
                model=place.params.model,
                number=chain.next_number(session, place.params.model),
                parent=parent.number,
                request=self.name,
                path=str(folder),
                weights=weights,
                edits=json.dumps([*chain.edits_of(parent), self.name]),
                retain_accuracy=found.figures["edited"]["retain_accuracy"].value,
            )
            session.add(made)
            request.version = made.number
            place.ledger.move(
                session,
                request,
                Status.VERIFIED,
                SYSTEM,
                version=made.number,
                weights=weights,
                evidence=folder.name,
            )
            if place.params.promotion == "automatic" and not place.ledger.waits(session, request):
                promotion.promote(place.ledger, session, request, SYSTEM)
            chain.put_in_place(folder, self.owner)

    def _end(self, status: Status, reason: str, made: Path | None = None, **details: Any) -> None:
        place = self.batch.place
        with place.ledger.writing() as session:
            leases.check(session, place.lease, self.owner)
            request = place.ledger.get(self.name, session)
            if made is not None:
                details["evidence"] = made.name
            place.ledger.move(session, request, status, SYSTEM, reason, **details)
            if made is not None:
                chain.put_in_place(made, self.owner)


@dataclass(frozen=True)
class Measured:
    """Figures and what they say."""

    figures: dict[str, examination.Figures]
    gates: list[Gate]

    @property
    def failed(self) -> list[str]:
        """Names of the gates that do not hold."""
        return [gate.name for gate in self.gates if not gate.passed]


def _failed(session: Session, name: str) -> int:
    """How often a request has failed its gates."""
    moves = session.scalars(select(AuditLine).where(AuditLine.request == name, AuditLine.action == "move"))
    details = [json.loads(line.details) for line in moves]
    return sum(one["to"] == Status.FAILED and one.get("reason", "").startswith(GATES) for one in details)


def _left_by_a_killed_run(folder: Path, made_from: str) -> WeightEdit | None:
    try:
        left = load_edit(folder) if folder.is_dir() else None
    except DatasetError:
        return None
    return left if left is not None and left.manifest.get("made_from") == made_from else None
