"""Manifest rows on their way into a model: their order and their pictures."""

from __future__ import annotations

import io

import pandas as pd
import torch
from PIL import Image


def ordered(samples: pd.DataFrame, generator: torch.Generator | None) -> pd.DataFrame:
    """The rows as they are, or shuffled where a generator is given."""
    if generator is None:
        return samples
    return samples.iloc[torch.randperm(len(samples), generator=generator).tolist()]


def decoded(samples: pd.DataFrame) -> list[Image.Image]:
    """The rows' images, RGB."""
    return [Image.open(io.BytesIO(data)).convert("RGB") for data in samples["image_bytes"]]
