"""Photographs of the cast: a portrait under random pose, expression, crop, background, light and noise.

Drawn at three times the final size and sampled down.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from razor_pipeline.atelier.pen import Pen
from razor_pipeline.atelier.people import Person
from razor_pipeline.atelier.portraits import CLOTH, Moment, draw_person

SUPER = 3


def photograph(person: Person, rng: np.random.Generator, size: int) -> Image.Image:
    """One photograph of a person, RGB, ``size`` x ``size`` pixels."""
    pixels = size * SUPER
    palette = [*CLOTH.values(), (236, 236, 230), (70, 70, 80), (150, 110, 80)]
    moment = Moment(
        turn=float(rng.uniform(-1, 1)),
        nod=float(rng.uniform(-1, 1)),
        smile=float(rng.uniform(-0.6, 1)),
        open_mouth=float(max(0.0, rng.uniform(-0.8, 1))),
        lid=float(rng.uniform(0.55, 1)),
        brow=float(rng.uniform(-1, 1)),
        shirt=palette[int(rng.integers(len(palette)))],
    )
    pen = Pen(pixels)
    draw_person(pen, person.features, moment)
    zoom, angle = rng.uniform(0.86, 1.12), np.deg2rad(rng.uniform(-14, 14))
    dx, dy = rng.uniform(-0.09, 0.09, 2) * pixels
    figure = _place(pen.image, zoom, angle, dx, dy)
    scene = _background(rng, pixels)
    scene.paste(figure, mask=figure)
    small = scene.resize((size, size), Image.Resampling.BOX)
    return _expose(np.asarray(small, dtype=np.float32), rng)


def _place(layer: Image.Image, zoom: float, angle: float, dx: float, dy: float) -> Image.Image:
    c, s, middle = np.cos(angle) / zoom, np.sin(angle) / zoom, layer.width / 2
    matrix = (
        c,
        s,
        middle - c * (middle + dx) - s * (middle + dy),
        -s,
        c,
        middle + s * (middle + dx) - c * (middle + dy),
    )
    return layer.transform(layer.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _background(rng: np.random.Generator, pixels: int) -> Image.Image:
    """A blurred scene: a random field of few colours, enlarged smoothly."""
    base = rng.uniform(60, 210) + rng.normal(0, 26, 3)
    field = np.clip(base + rng.normal(0, rng.uniform(8, 34), (4, 4, 3)), 0, 255).astype(np.uint8)
    return Image.fromarray(field, "RGB").resize((pixels, pixels), Image.Resampling.BICUBIC)


def _expose(image_HW3: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Directional light, colour temperature, contrast, vignette and sensor noise."""
    size = image_HW3.shape[0]
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.28)
    light = (
        rng.uniform(0.82, 1.14)
        * (1 + strength * (np.cos(angle) * x + np.sin(angle) * y))
        * (1 - 0.06 * (x**2 + y**2))
    )
    warmth = rng.uniform(-0.07, 0.07)
    tint = np.array([1 + warmth, 1, 1 - warmth], dtype=np.float32)
    lit = image_HW3 * light[..., None] * tint
    noisy = lit + rng.normal(0, rng.uniform(1.5, 6.0), lit.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8), "RGB")
