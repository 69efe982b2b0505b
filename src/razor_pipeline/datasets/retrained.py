"""Gold standards: models that the same training made without some of the classes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from razor_pipeline.datasets.pretrained import PretrainedDataset
from razor_pipeline.interfaces import ModelFamily


@dataclass(frozen=True)
class Retrained:
    """A model and the labels it has never seen."""

    model: ModelFamily
    excluded: frozenset[str]


class RetrainedDataset(AbstractDataset[list[Retrained], list[Retrained]]):
    """All models of a folder whose pretraining report names excluded classes; read only.

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
        """Every gold standard; empty where there is none."""
        found = []
        for report in sorted(self.path.glob("*.json")):
            told = json.loads(report.read_text(encoding="utf-8"))
            excluded = told.get("excluded", [])
            if excluded and told.get("pretraining", {}).get("family", "clip") == self.family:
                source = str(report.with_suffix(""))
                model = PretrainedDataset(family=self.family, source=source, device=self.device).load()
                found.append(Retrained(model, frozenset(excluded)))
        return found

    def save(self, data: list[Retrained]) -> None:
        """Refused: gold standards are made by the pretraining pipeline.

        Raises:
            DatasetError: always.
        """
        raise DatasetError(
            f"{self.path} is read only, {len(data)} models were not saved; "
            "make gold standards with `make zoo`"
        )

    def _exists(self) -> bool:
        return self.path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": str(self.path), "family": self.family}
