"""Gather image-caption pairs into one manifest."""

from __future__ import annotations

import pandas as pd

from razor_pipeline.datasets.sound_images import SoundImages
from razor_pipeline.datasets.sources import image_captions
from razor_pipeline.params.data import AtelierParams, DataParams


def prepare_manifest(
    data: DataParams, atelier: AtelierParams, sound_images: SoundImages
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The manifest, and the images that were refused."""
    return image_captions(data, atelier, sound_images)
