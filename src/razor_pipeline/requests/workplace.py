"""What a batch works with: the ledger, the model and its data, and what its requests share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy.orm import Session

from razor_pipeline.core.quantize import Scheme
from razor_pipeline.families.drawing_exam import looking_at
from razor_pipeline.families.vit import VitFamily
from razor_pipeline.interfaces import ModelFamily, See
from razor_pipeline.methods.scoring import RetainPass
from razor_pipeline.params.data import DataParams
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.requests import chain, forgetting, leases
from razor_pipeline.requests.examination import Examiner
from razor_pipeline.requests.examiners import examiner
from razor_pipeline.requests.forgetting import Protocol
from razor_pipeline.requests.ledger import SYSTEM, Ledger
from razor_pipeline.requests.registry import Registry
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.tables import Request, Version
from razor_pipeline.splitting import split_samples

# What follows in a refusal are suggestions and examples, which are names too.
AFTER = re.compile(r";|, e\.g\.|\n")


@dataclass
class Workplace:
    """Everything that a batch needs.

    Attributes:
        ledger: of the requests.
        params: of the requests.
        base: base model of the line.
        manifest: image-caption manifest of the model's data.
        data: which images are refused.
        protocol: how edits are made.
        schemes: quantization schemes that are examined.
        evaluation: what a model that answers is asked, and how one that draws is.
        judges: who looks at drawings.
        registry: mirror of the versions; none where nothing is tracked.
    """

    ledger: Ledger
    params: RequestsParams
    base: ModelFamily
    manifest: pd.DataFrame
    data: DataParams
    protocol: Protocol
    schemes: Sequence[Scheme]
    evaluation: EvaluationParams
    judges: Mapping[str, VitFamily]
    registry: Registry | None = None

    @property
    def folder(self) -> Path:
        """Where this line's versions are."""
        return Path(self.params.folder) / self.params.model

    @property
    def lease(self) -> str:
        """Name of the lease of this line."""
        return leases.of_line(self.params.model)

    @property
    def examination(self) -> dict[str, Any]:
        """What figures are held against, and how they were measured, as JSON."""
        return {
            "gates": self.params.gates.model_dump(mode="json"),
            "schemes": list(self.schemes),
            "evaluation": self.evaluation.model_dump(mode="json"),
            "judges": {name: judge.origin["sha256"] for name, judge in self.judges.items()},
        }

    def mirror(self) -> None:
        """Let MLflow's registry follow the ledger."""
        if self.registry is not None:
            self.registry.mirror(self.ledger, self.params.model)


@dataclass
class OpenBatch:
    """A batch with what its requests share.

    Attributes:
        place: where it runs.
        ids: of its requests, in order.
        parent: version that served when it began.
        labels: request id -> label, for the batch and for all edits in the parent whose data is still there.
        manifest: with the images that requests bring along.
        shared_with: labels that the shared retain pass leaves out: the batch's, and those of edits in the parent.
    """

    place: Workplace
    ids: list[str]
    parent: Version
    labels: dict[str, str]
    manifest: pd.DataFrame
    shared_with: list[str]

    @cached_property
    def examiner(self) -> Examiner:
        """The questions, and the base model's answers."""
        place, protocol = self.place, self.place.protocol
        labels = sorted(set(self.labels.values()))
        samples = split_samples(self.manifest, labels, protocol.splitting, protocol.seed)
        return examiner(place.base, samples, place.schemes, place.evaluation, place.judges)

    @cached_property
    def see(self) -> See | None:
        """Who looks at what the base model draws before an edit; none where it does not draw."""
        place = self.place
        drawing = place.evaluation.drawing.unpublished
        return looking_at(place.base, self.examiner.samples, place.judges, drawing)

    def check_judges(self) -> None:
        """Refuse judges who do not know the data: no request of the batch could be examined, and none is to fail by it.

        Raises:
            JudgeError: they do not.
        """
        if self.labels and self.place.base.yardstick == "anchor":
            _ = self.see

    @cached_property
    def shared(self) -> RetainPass:
        """The retain pass at the batch's parent."""
        model = chain.load_version(self.parent, self.place.base)
        return forgetting.shared_pass(model, self.manifest, self.shared_with, self.place.protocol)

    def earlier(self, version: Version) -> list[str]:
        """Requests whose edits are in a version and whose data is still there."""
        return [name for name in chain.edits_of(version) if name in self.labels]


def start(ledger: Ledger, session: Session, request: Request) -> None:
    """Mark a request as running, once."""
    if request.state is Status.APPROVED:
        ledger.move(session, request, Status.RUNNING, SYSTEM)


def sayable(error: Exception, request: Request, labels: Iterable[str], data_root: Path) -> str:
    """A refusal without names: suggestions, examples and files that requests brought are cut out, names are replaced.

    Args:
        error: its first line is said.
        request: its id stands for its target and for its folder.
        labels: all that the data knows, what requests brought included; however they are joined in a file's name.
        data_root: folder of what requests brought.
    """
    # To the last quotation mark, as a file's name may hold one too.
    brought = rf"{re.escape(str(data_root))}/(?:.*(?=['\"])|.*)"
    first = AFTER.split(re.sub(brought, "a brought file", str(error)))[0]
    names = {name: request.id for name in (request.target, request.data) if name}
    for name, shown in (names | {label: "another class" for label in labels if label not in names}).items():
        spelt = "[ _-]".join(re.escape(part) for part in name.split())
        first = re.sub(rf"(?<!\w){spelt}(?!\w)", shown, first, flags=re.IGNORECASE)
    return first
