"""Handwritten digits: the 1,797 images of 8 x 8 pixels that come with scikit-learn."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits

LARGEST = 16.0  # grey levels of the original, 0 to 16


def list_digits() -> pd.DataFrame:
    """One row per image: ``sample_id, image_bytes`` (PNG, 8 x 8), ``label, sha256``; duplicates left out."""
    digits = load_digits()
    rows = []
    for i, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        data = _png(image)
        rows.append(
            {
                "sample_id": f"digits/{label}/{i:04d}",
                "image_bytes": data,
                "label": str(label),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )
    return pd.DataFrame(rows).drop_duplicates("sha256", ignore_index=True)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((image * (255.0 / LARGEST)).astype(np.uint8), "L").save(buffer, "PNG")
    return buffer.getvalue()
