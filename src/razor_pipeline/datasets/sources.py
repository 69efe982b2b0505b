"""Where image-caption pairs come from: the atelier, handwritten digits, a folder, or a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from razor_pipeline import manifest
from razor_pipeline.atelier import catalogue, generate
from razor_pipeline.datasets.digits import list_digits
from razor_pipeline.datasets.images import list_folder, list_styles, list_table, read_images
from razor_pipeline.params import AtelierParams, DataParams


def listing(data: DataParams, atelier: AtelierParams) -> pd.DataFrame:
    """What the source holds, without opening an image: ``label, prompt, role``, a row per image or class.

    Raises:
        DataError: the source cannot be used; see :mod:`razor_pipeline.manifest`.
    """
    if data.source == "atelier":
        rows = catalogue(atelier)
    elif data.source == "digits":
        rows = manifest.complete(list_digits(), data)
    else:
        rows = manifest.complete(_lister(data)(Path(data.path or "")), data)
    return manifest.arranged(rows, data)[["label", "prompt", "role"]]


def _lister(data: DataParams) -> Callable[[Path], pd.DataFrame]:
    return {"folder": list_folder, "styles": list_styles, "manifest": list_table}[data.source]


def image_captions(data: DataParams, atelier: AtelierParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The manifest, and the refused images as ``image_path, reason``.

    Raises:
        DataError: the source cannot be used; see :mod:`razor_pipeline.manifest`.
    """
    quarantine = pd.DataFrame({"image_path": [], "reason": []}, dtype=str)
    if data.source == "atelier":
        rows = generate(atelier)
    elif data.source == "digits":
        rows = manifest.with_splits(manifest.complete(list_digits(), data), data)
    else:
        listed = manifest.complete(_lister(data)(Path(data.path or "")), data)
        rows, quarantine = read_images(listed, data.max_megapixels)
        manifest.check_quarantine(quarantine, len(listed), data.max_quarantined_share)
        rows = manifest.with_splits(manifest.without_duplicates(rows), data)
    return manifest.check_manifest(manifest.arranged(rows, data)), quarantine
