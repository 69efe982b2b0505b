"""Manifest rows on their way into a model: their order and their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from razor_pipeline.pictures import dimensions, opened, pictures

AT_ONCE = 8  # images that are decoded at their full size


def order_of(samples: pd.DataFrame, generator: torch.Generator | None) -> NDArray[np.int64]:
    """[N] places of the rows as they are, or shuffled where a generator is given."""
    if generator is None:
        return np.arange(len(samples))
    return torch.randperm(len(samples), generator=generator).numpy()


def decoded(samples: pd.DataFrame) -> list[Image.Image]:
    """The rows' images, upright, RGB."""
    return opened(pictures(samples))


def preprocessed(samples: pd.DataFrame, processor: Any) -> Tensor:
    """[N, 3, H, W] pixel values of the rows' images.

    They are made a few images at a time: a photograph takes a hundred megabytes until it is small.
    """
    parts = [
        processor(images=decoded(samples.iloc[start : start + AT_ONCE]), return_tensors="pt")["pixel_values"]
        for start in range(0, len(samples), AT_ONCE)
    ]
    return torch.cat(parts)


def check_sizes(samples: pd.DataFrame, size: int) -> None:
    """Refuse images that :func:`pixels` would, from their headers, before a model is opened.

    Args:
        samples: manifest rows.
        size: height and width in pixels of what the model draws.

    Raises:
        ValueError: names the first that is not square, or smaller.
        DataError: one is gone or changed.
    """
    named = zip(samples["sample_id"], pictures(samples), strict=True)
    for name, picture in tqdm(named, "sizes", len(samples), unit="image", disable=None, leave=False):
        _check_size(f"image '{name}'", dimensions(picture), size)


def _check_size(what: str, found: tuple[int, int], size: int) -> None:
    width, height = found
    if width != height or width < size:
        raise ValueError(
            f"{what} has {width} x {height} pixels, and the model draws {size} x {size}; give square images of at "
            "least that size"
        )


def pixels(images: Sequence[Image.Image], size: int) -> Tensor:
    """[N, 3, size, size] values of -1 to 1, as a diffusion model's autoencoder takes them; larger images are scaled.

    Raises:
        ValueError: an image is not square, or smaller than what the model draws: scaled, it would show something else.
    """
    for image in images:
        _check_size("an image", image.size, size)
    arrays = [
        np.asarray(image.resize((size, size)) if image.size != (size, size) else image) for image in images
    ]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1.0
