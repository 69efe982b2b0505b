"""What is told of images in a table: a csv or parquet file, whose values are all read as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from razor_pipeline.manifest import DataError

TABLE = ("image_path", "caption", "prompt", "label", "style", "domain", "split", "role", "near_twin", "facts")


def list_table(path: Path) -> pd.DataFrame:
    """The rows of a csv or parquet file; its image paths are relative to it, columns of no use to us are not read.

    Besides ``image_path`` there is a ``caption``, a ``label`` or both. Whole numbers become texts. Missing is what a
    csv file leaves empty and what is null in a parquet file: ``NA`` and ``None`` are names like others.

    Raises:
        DataError: it is missing, unreadable or empty, lacks a column, or has one of another type.
    """
    if not path.is_file():
        raise DataError(f"data.path '{path}' is not a file; give a csv or parquet file")
    try:
        rows = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    except DataError:
        raise
    except Exception as error:  # pandas and pyarrow raise a dozen kinds
        raise DataError(f"data.path '{path}' cannot be read ({error}); give a csv or parquet file") from error
    for either in (("image_path",), ("caption", "label")):
        if not any(name in rows for name in either):
            raise DataError(f"data.path '{path}' lacks the column {' or '.join(either)}; add it")
    if rows.empty or rows["image_path"].isna().any():
        raise DataError(f"data.path '{path}' has no rows, or one without image_path; fill them in")
    return rows.assign(
        sample_id=told_apart(rows["image_path"].astype(str)),
        image_path=[str(path.parent / name) for name in rows["image_path"]],
    )


def _csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(
        path, dtype=str, usecols=lambda name: name in TABLE, keep_default_na=False, na_values=[""]
    )


def _parquet(path: Path) -> pd.DataFrame:
    names = [name for name in pq.read_schema(path).names if name in TABLE]
    found = pq.read_table(path, columns=names)
    return pd.DataFrame({name: _texts(found.column(name), name, path) for name in names})


def _texts(column: Any, name: str, path: Path) -> pd.Series[Any]:
    """A column's values, and of a categorical one those that its codes stand for."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (is_text or pa.types.is_integer(kind) or column.null_count == len(column)):
        raise DataError(
            f"column {name} of data.path '{path}' is {kind}, but must hold text or whole numbers; cast it and save "
            "the table again"
        )
    texts: pd.Series[Any] = column.cast(kind).cast(pa.string()).to_pandas()
    return texts


def told_apart(names: pd.Series[str]) -> pd.Series[str]:
    """The names, with a number behind one that was there before."""
    while (count := names.groupby(names).cumcount()).any():  # "a#1" may have been there as well
        names = names + ("#" + count.astype(str)).where(count > 0, "")
    return names
