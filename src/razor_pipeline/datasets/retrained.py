"""Gold standards: models that the same training made without some of the classes."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from razor_pipeline.datasets.atomic import replace_directory, replace_file
from razor_pipeline.datasets.pretrained import KINDS, PretrainedDataset
from razor_pipeline.datasets.read_only import ReadOnlyDataset
from razor_pipeline.fingerprint import content_sha256
from razor_pipeline.interfaces import ModelFamily

logger = logging.getLogger(__name__)
SAVED = "directory_sha256"  # in a report: of the model as it was saved
REPORTS = "[!.]*.json"  # none that a killed process left half written


@dataclass(frozen=True)
class Retrained:
    """A model and the labels it has never seen."""

    model: ModelFamily
    excluded: frozenset[str]

    def beside(self, targets: Collection[str]) -> frozenset[str]:
        """What else it has never seen, which says nothing about forgetting the targets."""
        return self.excluded - set(targets)


def never_saw(retrained: Iterable[Retrained], targets: Collection[str]) -> Retrained | None:
    """The first that has seen none of the targets; None where there is none."""
    several = list(retrained)
    found = next((gold for gold in several if set(targets) <= gold.excluded), None)
    if several and not found:
        logger.info(
            "no gold standard at hand was trained without %s: no gap is measured", ", ".join(sorted(targets))
        )
    return found


def whole(model: ModelFamily) -> list[Any]:
    """What figures of a model depend on: its weights and, in a directory, all that lies beside them.

    Tokenizers, processors, samplers and names of classes decide figures as well. A hub id's are pinned with it.
    """
    return [model.origin, content_sha256(Path(str(model.origin.get("id"))))]


def origins(retrained: Iterable[Retrained]) -> list[Any]:
    """What figures that were measured beside them depend on."""
    return [[sorted(gold.excluded), *whole(gold.model)] for gold in retrained]


def as_saved(report: Path, unsaid: bool) -> bool:
    """Whether the model beside a report is the one that it was saved with; ``unsaid`` where it does not say."""
    told = json.loads(report.read_text(encoding="utf-8"))
    return bool(told[SAVED] == content_sha256(report.with_suffix(""))) if SAVED in told else unsaid


Trained = dict[str, tuple[ModelFamily, dict[str, Any]]]


class RetrainedDataset(AbstractDataset[Trained, list[Retrained]]):
    """All models of a folder whose pretraining report names excluded classes.

    Args:
        folder: holds ``<name>/`` (the model) and ``<name>.json`` (its pretraining report).
        family: name of the family.
        device: where they compute.
        metadata: ignored by Kedro, read by kedro-viz (its layer).
    """

    def __init__(
        self, *, folder: str, family: str, device: str = "auto", metadata: dict[str, Any] | None = None
    ) -> None:
        self.path, self.family, self.device, self.metadata = Path(folder), family, device, metadata

    def load(self) -> list[Retrained]:
        """Every gold standard; empty where the folder has none, and then no gap to retraining can be measured."""
        if not self.path.is_dir():
            logger.warning(
                "%s does not exist, so no gap to retraining is measured; beside `retrained`, globals.yml says what "
                "trains its gold standards",
                self.path,
            )
        found = []
        for report in sorted(self.path.glob(REPORTS)):
            if excluded := self._excluded(report):
                source = report.with_suffix("")
                if not as_saved(report, unsaid=True):
                    logger.warning(
                        "%s is not the model that %s tells of, so it is no gold standard: train it again "
                        "(the pipeline retraining)",
                        source,
                        report.name,
                    )
                    continue
                model = PretrainedDataset(family=self.family, source=str(source), device=self.device).load()
                found.append(Retrained(model, frozenset(excluded)))
        return found

    def check_takes(self, groups: Iterable[str]) -> None:
        """Refuse to write over a base model or a judge, which may lie in the same folder; said before a training.

        Raises:
            DatasetError: a group has the name of a model that is no gold standard.
        """
        for name in groups:
            self._refuse_other(name)

    def save(self, data: Trained) -> None:
        """Replace each model and its report, once both are complete on disk; what else the folder holds stays.

        Raises:
            DatasetError: one has the name of a model that is no gold standard; the folder stays as it was.
        """
        self.check_takes(data)
        for name, (model, report) in data.items():
            with (
                replace_file(self.path / f"{name}.json") as beside_report,
                replace_directory(self.path / name) as beside_model,
            ):
                model.save_pretrained(beside_model)
                told = report | {SAVED: content_sha256(beside_model)}
                beside_report.write_text(json.dumps(told, indent=2), encoding="utf-8")

    def _excluded(self, report: Path) -> list[str]:
        """What a model has never seen, by its report; nothing where it is no gold standard of this family."""
        told = json.loads(report.read_text(encoding="utf-8"))
        trained_as = KINDS.get(told.get("pretraining", {}).get("family", "clip"))
        # One that is edited in two depths was trained as any other of its kind.
        own = trained_as is not None and issubclass(KINDS[self.family], trained_as)
        return list(told.get("excluded", [])) if own else []

    def _refuse_other(self, name: str) -> None:
        report = self.path / f"{name}.json"
        if (self.path / name).exists() and not (report.is_file() and self._excluded(report)):
            raise DatasetError(
                f"{self.path / name} is there already and is no gold standard of the family {self.family}; give the "
                f"group '{name}' of retraining.groups another name"
            )

    def _exists(self) -> bool:
        return self.path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": str(self.path), "family": self.family}


class RetrainingReportsDataset(ReadOnlyDataset[dict[str, Any]]):
    """Name -> pretraining report of every gold standard of a folder that is as it was saved.

    Args:
        folder: that of :class:`RetrainedDataset`.
        metadata: ignored by Kedro, read by kedro-viz (its layer).
    """

    refusal = "a report is saved with its model alone; save the model"
    paths: tuple[Path, ...] = ()  # what was made before decides no result, so no step depends on it

    def __init__(self, *, folder: str, metadata: dict[str, Any] | None = None) -> None:
        self.folder, self.metadata = Path(folder), metadata

    def load(self) -> dict[str, Any]:
        """The reports of the models that are as they were saved."""
        kept = [path for path in self.folder.glob(REPORTS) if as_saved(path, unsaid=False)]
        return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in kept}

    def _describe(self) -> dict[str, Any]:
        return {"folder": str(self.folder)}
