"""The canvas: twelve objects in twelve styles, in the manner of UnlearnCanvas (NeurIPS 2024).

An object is a list of flat shapes; a style decides how the shapes become a picture. Every picture varies in
viewpoint, scale, position and colour. Coordinates are in units of the half canvas, (0, 0) in the middle.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from razor_pipeline.atelier.objects import SHAPES, Shape
from razor_pipeline.atelier.styles import RENDER, Sketch

OBJECTS: tuple[str, ...] = tuple(SHAPES)
STYLES: tuple[str, ...] = tuple(RENDER)
SUPER = 2


def paint(object_name: str, style: str, rng: np.random.Generator, size: int) -> Image.Image:
    """One picture of an object in a style, RGB, ``size`` x ``size`` pixels.

    Raises:
        KeyError: the object or the style is not one of ``OBJECTS``, ``STYLES``.
    """
    pixels = size * SUPER
    shapes = _viewed(SHAPES[object_name], rng)
    hue = rng.uniform(-0.06, 0.06)
    picture = RENDER[style](Sketch(shapes, pixels, float(hue)), rng)
    array = np.clip(picture, 0, 255).astype(np.uint8)
    return Image.fromarray(array, "RGB").resize((size, size), Image.Resampling.LANCZOS)


def _viewed(
    shapes: tuple[Shape, ...], rng: np.random.Generator
) -> list[tuple[np.ndarray, tuple[float, float, float]]]:
    """The shapes under a random similarity (mirror, scale, small rotation, shift)."""
    mirror = rng.choice([-1.0, 1.0])
    scale, angle = rng.uniform(0.78, 1.05), rng.uniform(-0.2, 0.2)
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    matrix = np.array([[c * mirror, -s], [s * mirror, c]])
    shift = rng.uniform(-0.12, 0.12, 2)
    return [(shape.points @ matrix.T + shift, shape.hsv) for shape in shapes]
