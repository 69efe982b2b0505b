"""Choose what is forgotten and what is kept."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline import splitting as science
from razor_pipeline.params import SplittingParams


def split_samples(manifest: pd.DataFrame, target: Any, splitting: SplittingParams, seed: int) -> pd.DataFrame:
    """The rows that this run uses, with roles; ``target`` is a text or a list, unions are not validated."""
    return science.split_samples(manifest, target, splitting, seed)
