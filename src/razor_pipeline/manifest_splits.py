"""Which rows of the manifest are to edit, to validate and to test with. Pure: tables in, tables out."""

from __future__ import annotations

import hashlib
import logging

import pandas as pd

from razor_pipeline.manifest import EXAMPLES, SPLITS, DataError, refuse_values
from razor_pipeline.params.data import DataParams

logger = logging.getLogger(__name__)


def with_splits(rows: pd.DataFrame, params: DataParams) -> pd.DataFrame:
    """The rows that are used, each with its split.

    A given split stays. Otherwise the images of each class are shuffled by ``params.seed`` and the sample ids, and cut
    by count or share; rows of one image, as a table of several captions an image has them, stay together. Reference
    classes go to validation and test in turn: a search never sees the reference classes of the test.

    Raises:
        DataError: classes have too few images, or a split is unknown.
    """
    if "split" in rows:
        refuse_values(rows, "split", SPLITS)
        return rows
    refuse_small(rows, params)
    lot = [hashlib.sha256(f"{params.seed}/{sample}".encode()).hexdigest() for sample in rows["sample_id"]]
    split = pd.Series("", index=rows.index)
    shuffled = rows.assign(lot=lot).sort_values("lot")
    known = shuffled[shuffled["role"] != "reference"]
    for _, own in known.groupby(["domain", "label"]):
        images = own["sha256"].unique()
        # What is beyond split_counts has none.
        names = dict(zip(images, _cut(len(images), params), strict=False))
        split.loc[own.index] = own["sha256"].map(names).fillna("")
    reference = shuffled[shuffled["role"] == "reference"]
    several = reference["label"].nunique() > 1
    order = pd.factorize(reference["label"] if several else reference["sha256"], sort=several)[0]
    halves = ["validation" if place % 2 == 0 else "test" for place in order]
    split.loc[reference.index] = pd.Series(halves, reference.index, dtype=str)
    used = rows.assign(split=split)
    unused = int((split == "").sum())
    if unused:
        logger.info("%d rows are beyond data.split_counts and stay unused.", unused)
    return used[split != ""]


def refuse_small(rows: pd.DataFrame, params: DataParams) -> None:
    """Refuse classes that cannot be split; a listing is asked by its rows, before images are decoded.

    Raises:
        DataError: classes have too few images; names the first, and what helps.
    """
    if "split" in rows:
        return
    counts = _images(rows[rows["role"] != "reference"]).droplevel("domain")
    small = [
        (label, size, _sizes(size, params))
        for label, size in counts.items()
        if sum(_sizes(size, params).values()) > size
    ]
    if not small:
        return
    told = [
        f"'{label}' has {size} of {sum(sizes.values())} "
        f"({', '.join(f'{count} {name}' for name, count in sizes.items())})"
        for label, size, sizes in small[:EXAMPLES]
    ]
    more = f" and {len(small) - EXAMPLES} more" if len(small) > EXAMPLES else ""
    raise DataError(
        f"{len(small)} {'class has' if len(small) == 1 else 'classes have'} fewer images than are needed: "
        f"{', '.join(told)}{more}; {_remedy(max(size for _, size, _ in small), params)}"
    )


def _images(rows: pd.DataFrame) -> pd.Series[int]:
    """(domain, label) -> its images, or its rows where nobody has read the images yet."""
    groups = rows.groupby(["domain", "label"])
    counts: pd.Series[int] = groups["sha256"].nunique() if "sha256" in rows else groups.size()
    return counts


def _remedy(largest: int, params: DataParams) -> str:
    """What helps classes that are too small, the largest of them of a given size."""
    ways = ["add images", "remove such classes"]
    if params.split_counts is not None:
        ways.append("lower data.split_counts")
    elif params.min_images_per_split > 1 and largest >= len(SPLITS):
        ways.append("lower data.min_images_per_split")
    if params.split_counts is None and largest >= len(SPLITS) * params.min_images_per_split:
        ways.append("lower data.validation_share or data.test_share")
    return f"{', '.join(ways[:-1])} or {ways[-1]}"


def _sizes(size: int, params: DataParams) -> dict[str, int]:
    """Split -> images of a class of ``size`` images; where it is too small, more than it has."""
    least, counts = params.min_images_per_split, params.split_counts
    if counts is not None:
        return {"edit": counts.edit, "validation": counts.validation, "test": counts.test}
    validation = max(least, round(size * params.validation_share))
    test = max(least, round(size * params.test_share))
    return {"edit": max(least, size - validation - test), "validation": validation, "test": test}


def _cut(size: int, params: DataParams) -> list[str]:
    """Splits of a class of ``size`` images."""
    return [name for name, count in _sizes(size, params).items() for _ in range(count)]
