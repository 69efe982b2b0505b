"""Where image-caption pairs come from: the atelier, digits, a folder, tar shards, a saved data set, or a table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from razor_pipeline import manifest
from razor_pipeline.atelier import catalogue, generate
from razor_pipeline.datasets.digits import list_digits
from razor_pipeline.datasets.images import list_folder, list_styles, read_images
from razor_pipeline.datasets.saved import DICTIONARY, STATE, list_saved
from razor_pipeline.datasets.shards import list_shards, shards_at
from razor_pipeline.datasets.sound_images import SoundImages
from razor_pipeline.datasets.tables import list_table
from razor_pipeline.manifest import DataError
from razor_pipeline.manifest_splits import refuse_small, with_splits
from razor_pipeline.params.data import AtelierParams, DataParams


def listing(data: DataParams, atelier: AtelierParams) -> pd.DataFrame:
    """What the source holds, without opening an image: ``label, style, prompt, role``, a row per image or class.

    Raises:
        DataError: the source cannot be used; see :mod:`razor_pipeline.manifest`.
    """
    if data.source == "atelier":
        rows = catalogue(atelier)
    elif data.source == "digits":
        rows = manifest.complete(list_digits(), data)
    else:
        rows = manifest.complete(_files(data)[0], data)
    return manifest.arranged(rows, data)[["label", "style", "prompt", "role"]]


def _files(data: DataParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Where the images are and what is told of them, and ``image_path, reason`` of what cannot even be listed."""
    root = Path(data.path or "")
    if data.source == "folder":
        _refuse_other_source(root)
        if shards := shards_at(root):
            return list_shards(shards, data.max_quarantined_share)
    if data.source == "datasets":
        return list_saved(root)
    if data.source == "manifest":
        return list_table(root), pd.DataFrame({"image_path": [], "reason": []}, dtype=str)
    return list_styles(root) if data.source == "styles" else list_folder(root)


def _refuse_other_source(root: Path) -> None:
    """Raise where a table or a saved data set is taken for a folder: nothing is wrong with it but the source's name."""
    if root.is_file() and root.suffix.lower() in (".csv", ".parquet"):
        raise DataError(
            f"data.path '{root}' is a table, and data.source is 'folder'; set data.source=manifest"
        )
    if (root / DICTIONARY).is_file() or ((root / STATE).is_file() and any(root.glob("*.arrow"))):
        raise DataError(
            f"data.path '{root}' is a data set that save_to_disk wrote, and data.source is 'folder'; set "
            "data.source=datasets"
        )


def image_captions(
    data: DataParams, atelier: AtelierParams, sound_images: SoundImages | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The manifest, and what was refused as ``image_path, reason``.

    Args:
        data: the source.
        atelier: what is generated, where that is the source.
        sound_images: files that need not be decoded again.

    Raises:
        DataError: the source cannot be used; see :mod:`razor_pipeline.manifest`.
    """
    quarantine = pd.DataFrame({"image_path": [], "reason": []}, dtype=str)
    if data.source == "atelier":
        rows = generate(atelier)
    elif data.source == "digits":
        rows = with_splits(manifest.complete(list_digits(), data), data)
    else:
        listed, unlisted = _files(data)
        told = manifest.complete(listed, data)
        refuse_small(told, data)
        rows, unsound = read_images(told, data.max_megapixels, sound_images)
        quarantine = pd.concat([unlisted, unsound], ignore_index=True)
        manifest.check_quarantine(quarantine, len(listed) + len(unlisted), data.max_quarantined_share)
        rows = with_splits(manifest.without_duplicates(rows), data)
    return manifest.check_manifest(manifest.arranged(rows, data)), quarantine
