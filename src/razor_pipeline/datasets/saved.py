"""A Hugging Face data set as ``datasets.Dataset.save_to_disk`` writes it: texts are read, images stay where they are.

The Arrow files of such a directory are not compressed, so a manifest row points to its image's stretch of one, as it
does into a tar shard.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from razor_pipeline.datasets.tables import TABLE, told_apart
from razor_pipeline.manifest import DataError

if TYPE_CHECKING:
    from datasets import Dataset

DICTIONARY = "dataset_dict.json"  # of a DatasetDict
STATE = "state.json"  # of a Dataset


def list_saved(root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of a saved ``datasets.Dataset``, and ``image_path, reason`` of those without an image.

    A row has ``image_path, image_offset, image_size, image_name`` and the columns of a table
    (:func:`razor_pipeline.datasets.tables.list_table`) that the data set has, as texts. An image whose path alone was
    saved lies there, relative to the directory.

    Raises:
        DataError: ``datasets`` is not installed, the directory was not written by ``Dataset.save_to_disk`` or is
            damaged, it has no rows, not one column of images, neither caption nor label, or one that is no text.
    """
    found = _opened(root)
    column = _image_column(found, root)
    names = [name for name in TABLE[1:] if name in found.column_names]
    if not {"caption", "label"} & set(names):
        raise DataError(
            f"data.path '{root}' lacks the column caption or label; add it with Dataset.add_column"
        )
    rows = _places(found, column, root).assign(
        **{name: pd.Series(_texts(found, name, root), dtype=object) for name in names}
    )
    empty = rows["image_path"] == ""
    missing = pd.DataFrame({"image_path": rows.loc[empty, "image_name"], "reason": "has no image"}, dtype=str)
    return rows[~empty].reset_index(drop=True), missing


def _opened(root: Path) -> Dataset:
    try:
        from datasets import load_from_disk
    except ImportError as error:
        raise DataError(
            "data.source is 'datasets', which needs the package datasets; pip install 'razor_pipeline[datasets]'"
        ) from error
    if (root / DICTIONARY).is_file():
        parts = sorted(path.name for path in root.iterdir() if (path / STATE).is_file())
        raise DataError(
            f"data.path '{root}' holds several data sets ({', '.join(parts)}); give the directory of one of them"
        )
    if not (root / STATE).is_file():
        raise DataError(
            f"data.path '{root}' was not written by datasets.Dataset.save_to_disk; give a directory that was"
        )
    if not any(root.glob("*.arrow")):
        raise DataError(f"data.path '{root}' has no rows; save a data set that has some")
    try:
        found: Dataset = load_from_disk(str(root), keep_in_memory=False)
    except Exception as error:  # pyarrow, json and datasets raise a dozen kinds
        raise DataError(f"data.path '{root}' cannot be read ({error}); save the data set again") from error
    return found


def _image_column(found: Dataset, root: Path) -> str:
    import datasets

    columns = [str(name) for name, kind in found.features.items() if isinstance(kind, datasets.Image)]
    if len(columns) != 1:
        told = ", ".join(columns) or f"none among {', '.join(found.column_names)}"
        raise DataError(
            f"data.path '{root}' must have one column of images (datasets.Image), and has {told}; cast or remove "
            "columns and save it again"
        )
    return columns[0]


def _texts(found: Dataset, name: str, root: Path) -> list[str | None]:
    """A column's values; names of a ``ClassLabel``, None where a row has none."""
    import datasets

    kind, values = found.features[name], found.data.column(name).to_pylist()
    if isinstance(kind, datasets.ClassLabel):
        return [kind.names[value] if value is not None and value >= 0 else None for value in values]
    if not (isinstance(kind, datasets.Value) and kind.dtype.startswith(("string", "large_string", "int"))):
        raise DataError(
            f"column {name} of data.path '{root}' is {kind}, but must be a ClassLabel or text; cast it and save "
            "the data set again"
        )
    return [None if value is None else str(value) for value in values]


def _places(found: Dataset, column: str, root: Path) -> pd.DataFrame:
    """Where every row's image lies; ``image_path`` is empty where there is none."""
    places: list[tuple[str, int, int, str | None]] = []
    for file in found.cache_files:
        with pa.memory_map(file["filename"]) as mapped:
            whole = mapped.read_buffer()  # its address; no byte is read for it
            for batch in pa.ipc.open_stream(whole):
                images = batch.column(column)
                fields = dict(zip((field.name for field in images.type), images.flatten(), strict=True))
                starts, sizes = _stretches(fields["bytes"], whole.address)
                held, paths = fields["bytes"].is_valid().to_pylist(), fields["path"].to_pylist()
                for start, size, holds, path in zip(starts, sizes, held, paths, strict=True):
                    place = (file["filename"], start, size) if holds else _file(root, path)
                    places.append((*place, path))
    rows = pd.DataFrame(places, columns=["image_path", "image_offset", "image_size", "sample_id"])
    names = pd.Series([path or str(number) for number, path in enumerate(rows["sample_id"])], dtype=str)
    told = [f"{root}, row {number}, {name}" for number, name in enumerate(names)]
    return rows.assign(image_name=told, sample_id=told_apart(names))


def _stretches(values: Any, address: int) -> tuple[list[int], list[int]]:
    """Offset and size of each value of a binary array in the file that is mapped to an address.

    From Arrow's layout: a scalar would be a copy, whose address says nothing.
    """
    width = np.int64 if pa.types.is_large_binary(values.type) else np.int32
    _, bounds, data = values.buffers()
    bounds_N = np.frombuffer(bounds, width)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    return (bounds_N[:-1] + (data.address - address)).tolist(), np.diff(bounds_N).tolist()


def _file(root: Path, name: str | None) -> tuple[str, int, int]:
    """Path, offset and size of an image of which the path alone was saved."""
    path = root / (name or "")
    return (str(path) if name else "", 0, path.stat().st_size if path.is_file() else 0)
