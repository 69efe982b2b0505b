"""Gold standards: models that the same training made without some of the classes."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from razor_pipeline.datasets.atomic import replace_directory
from razor_pipeline.datasets.pretrained import PretrainedDataset
from razor_pipeline.interfaces import ModelFamily

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retrained:
    """A model and the labels it has never seen."""

    model: ModelFamily
    excluded: frozenset[str]


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
                "%s does not exist, so no gap to retraining is measured; train its gold standards with `kedro run` "
                "of the same --env and `--pipelines dataset_preparation,retraining`",
                self.path,
            )
        found = []
        for report in sorted(self.path.glob("*.json")):
            told = json.loads(report.read_text(encoding="utf-8"))
            excluded = told.get("excluded", [])
            if excluded and told.get("pretraining", {}).get("family", "clip") == self.family:
                source = str(report.with_suffix(""))
                model = PretrainedDataset(family=self.family, source=source, device=self.device).load()
                found.append(Retrained(model, frozenset(excluded)))
        return found

    def save(self, data: Trained) -> None:
        """Replace the folder by these models and reports; the old one stays until the new one is complete.

        Raises:
            DatasetError: there are none; the folder stays as it was.
        """
        if not data:
            raise DatasetError(
                f"{self.path} would be left empty; name what gold standards are trained without in retraining.groups"
            )
        with replace_directory(self.path) as beside:
            for name, (model, report) in data.items():
                model.save_pretrained(beside / name)
                (beside / f"{name}.json").write_text(json.dumps(report, indent=2), encoding="utf-8")

    def _exists(self) -> bool:
        return self.path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": str(self.path), "family": self.family}
