"""Which images proved sound before, so that a repeated reading decodes the new ones alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from razor_pipeline.datasets.atomic import replace_file
from razor_pipeline.datasets.read_only import ReadOnlyDataset
from razor_pipeline.fingerprint import code_sha256, digest, environment

READER = "razor_pipeline.datasets.images"  # the module that decides what is sound


class SoundImages:
    """The sha256 of images that proved sound, in a file.

    They count as long as what decides it is the same: the limit of megapixels, the code of the reading and the versions
    of the libraries. A damaged image is never among them.
    """

    def __init__(self, path: Path) -> None:
        self.file = path

    def known(self, max_megapixels: float) -> frozenset[str]:
        """What is known to be sound; nothing where the file is missing, damaged or of another reading."""
        try:
            kept = json.loads(self.file.read_text(encoding="utf-8"))
            return frozenset(kept["sha256"] if kept["decided_by"] == _decided_by(max_megapixels) else ())
        except (OSError, ValueError, KeyError, TypeError):
            return frozenset()

    def keep(self, sound: Iterable[str], max_megapixels: float) -> None:
        """Replace what is known."""
        kept = {"decided_by": _decided_by(max_megapixels), "sha256": sorted(set(sound))}
        with replace_file(self.file) as beside:
            beside.write_text(json.dumps(kept), encoding="utf-8")


def _decided_by(max_megapixels: float) -> str:
    return digest([float(max_megapixels), code_sha256(READER), environment()])


class SoundImagesDataset(ReadOnlyDataset[SoundImages]):
    """The place of :class:`SoundImages`; the reading itself keeps them there, also when a later check fails.

    Args:
        filepath: the file.
        metadata: ignored by Kedro, read by kedro-viz (its layer).
    """

    refusal = "what is sound is kept by the reading of images"
    # What the file holds saves time and decides no result, so no step depends on it.
    paths: tuple[Path, ...] = ()

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self.file, self.metadata = Path(filepath), metadata

    def load(self) -> SoundImages:
        """What is known; the file may be missing."""
        return SoundImages(self.file)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.file)}
