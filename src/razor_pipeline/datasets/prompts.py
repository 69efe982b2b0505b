"""Prompts from outside that a model which draws is examined by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import DatasetError

from razor_pipeline.datasets.read_only import ReadOnlyDataset
from razor_pipeline.families import FAMILIES
from razor_pipeline.families.text_to_image import TextToImageFamily

SUFFIXES = (".txt", ".csv")


class PromptsDataset(ReadOnlyDataset[list[str]]):
    """The prompts of text files (one a line) and csv files (column ``prompt``).

    Args:
        family: name of the model's family; one that does not draw is asked no prompts.
        source: a file, or a folder of them; None where the data's own prompts are asked: then there are none.
        metadata: ignored by Kedro, read by kedro-viz (its layer).
    """

    refusal = "prompts are read only; write them to a file by hand"

    def __init__(self, *, family: str, source: str | None, metadata: dict[str, Any] | None = None) -> None:
        self.family, self.source, self.metadata = family, source, metadata
        self.paths = [Path(source)] if source else []

    def load(self) -> list[str]:
        """All prompts, in the order of the files' names.

        Raises:
            DatasetError: there is no such file, it cannot be read, or holds no prompt; or the model does not draw.
        """
        if self.source is None:
            return []
        if not issubclass(FAMILIES.get(self.family, object), TextToImageFamily):
            raise DatasetError(
                f"prompts '{self.source}' are for a model that draws, and this one is of the family '{self.family}', "
                "which is not examined by them; leave prompts out"
            )
        root = Path(self.source)
        files = sorted(p for p in root.iterdir() if p.suffix.lower() in SUFFIXES) if root.is_dir() else [root]
        if not files or not all(file.is_file() and file.suffix.lower() in SUFFIXES for file in files):
            raise DatasetError(f"prompts '{root}' is no .txt or .csv file, and no folder of them; give one")
        prompts = [line.strip() for file in files for line in _read(file) if line.strip()]
        if not prompts:
            raise DatasetError(f"prompts '{root}' holds no prompt; write one a line")
        return prompts

    def _describe(self) -> dict[str, Any]:
        return {"family": self.family, "source": self.source}


def _read(file: Path) -> list[str]:
    try:
        if file.suffix.lower() == ".txt":
            return file.read_text(encoding="utf-8-sig").splitlines()
        rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:  # pandas' errors of parsing and decoding are ValueErrors
        raise DatasetError(
            f"prompts '{file}' cannot be read ({error}); give UTF-8 text or a csv file"
        ) from error
    if "prompt" not in rows:
        raise DatasetError(f"prompts '{file}' lacks the column prompt; add it")
    return list(rows["prompt"])
