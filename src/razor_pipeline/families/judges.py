"""What judges see in drawings: classifiers that say which concept, and which concept of the other kind, is shown.

Shapes: N drawings, E width of a judge's features.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from razor_pipeline.core.cached import FORWARD_BATCH
from razor_pipeline.families.vit import VitFamily
from razor_pipeline.manifest import COMBINED

BLANK = 4.0  # standard deviation of each channel's values of 0 to 255 below which a drawing shows nothing
Drawn = tuple[bytes, Any, Any, Any, Any]  # a row of Drawings


class JudgeError(ValueError):
    """No judge knows the concepts that a model was asked to draw."""


@dataclass(frozen=True)
class Drawings:
    """What one model drew, a row per order of the exam.

    Attributes:
        images: PNG.
        label: [N] what the judge of the targets' domain sees.
        style: [N] what the judge of the other domain sees.
        features: [N, E] what the judge of the targets' domain makes of the images before it names a concept.
        blank: [N] whether the image is black or constant.
    """

    images: list[bytes]
    label: NDArray[np.str_]
    style: NDArray[np.str_]
    features: NDArray[np.floating]
    blank: NDArray[np.bool_]

    def each(self) -> list[Drawn]:
        """One after the other."""
        return list(zip(self.images, self.label, self.style, self.features, self.blank, strict=True))

    @classmethod
    def of(cls, several: Sequence[Drawn]) -> Drawings:
        """Of drawings one by one, from one judge each."""
        images, *rest = zip(*several, strict=True)
        label, style, features, blank = (np.stack(part) for part in rest)
        return cls(list(images), label, style, features, blank)


class Judges:
    """Those that know the concepts of an exam, of either kind.

    Args:
        judges: classifiers by name; one must know every label, another every style. Where labels combine an object with
            a style, both are asked.
        cells: ``label, style`` of all that is drawn.

    Raises:
        JudgeError: a judge is missing.
    """

    def __init__(self, judges: Mapping[str, VitFamily], cells: pd.DataFrame) -> None:
        self.of = {column: _knowing(judges, column, set(cells[column])) for column in ("label", "style")}

    def look(self, images: Sequence[Image.Image]) -> Drawings:
        """The drawings, and what is seen in them."""
        files = [_png(image) for image in images]
        blank = np.array([is_blank(image) for image in images])
        label, features = self._seen(files, "label")
        style, _ = self._seen(files, "style")
        return Drawings(files, label, style, features, blank)

    def _seen(self, files: list[bytes], column: str) -> tuple[NDArray[np.str_], NDArray[np.floating]]:
        names, features = [], []
        for judge in self.of[column]:
            rows = pd.DataFrame({"image_bytes": files, "caption": next(iter(judge.place))})
            features.append(judge.features(judge.batches(rows, FORWARD_BATCH)))
            names.append(judge.classified(features[-1]))
        seen = np.array([COMBINED.join(several) for several in zip(*names, strict=True)])
        return seen, torch.cat(features, dim=1).cpu().numpy()


def is_blank(image: Image.Image) -> bool:
    """Whether a drawing shows nothing: one colour all over, whichever it is."""
    spread_3 = np.asarray(image.convert("RGB"), dtype=float).std(axis=(0, 1))
    return bool(spread_3.max() < BLANK)


def _knowing(judges: Mapping[str, VitFamily], column: str, concepts: set[str]) -> tuple[VitFamily, ...]:
    """The judge that knows all concepts, or the one of objects and the one of styles that they combine.

    Raises:
        JudgeError: there is none.
    """
    parts = [
        set(several) for several in zip(*(concept.split(COMBINED) for concept in concepts), strict=False)
    ]
    found = [next((j for j in judges.values() if part <= set(j.place)), None) for part in parts]
    whole = next((judge for judge in judges.values() if concepts <= set(judge.place)), None)
    known = (whole,) if whole else tuple(judge for judge in found if judge)
    if not known or (not whole and len(known) < len(parts)):
        raise JudgeError(
            f"none of the judges ({', '.join(judges) or 'there are none'}) knows all {len(concepts)} concepts of the "
            f"column {column}, e.g. '{min(concepts)}'; name classifiers that do in globals.yml under judges"
        )
    return known


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
