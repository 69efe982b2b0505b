"""The styles of the canvas: each turns an object's flat shapes into a picture of its own manner.

A renderer takes a :class:`Sketch` and a random generator and returns a float array [H, W, 3] in 0..255.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Array = np.ndarray
Rng = np.random.Generator
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Sketch:
    """An object before it gets a style.

    Attributes:
        shapes: (outline points [P, 2] in half-canvas units, HSV colour), back to front.
        pixels: side of the square canvas.
        hue: shift of every hue.
    """

    shapes: list[tuple[Array, tuple[float, float, float]]]
    pixels: int
    hue: float

    def colours(self, saturation: float, value: float) -> list[Colour]:
        """RGB colours of the shapes with scaled saturation and value."""
        return [
            _rgb(h + self.hue, min(1.0, s * saturation), min(1.0, v * value)) for _, (h, s, v) in self.shapes
        ]

    def fill(self, background: Colour, colours: list[Colour]) -> Image.Image:
        """Flat shapes on a plain background."""
        image = Image.new("RGB", (self.pixels, self.pixels), background)
        draw = ImageDraw.Draw(image)
        for (points, _), colour in zip(self.shapes, colours, strict=True):
            draw.polygon(self.xy(points), fill=colour)
        return image

    def outline(self, image: Image.Image, colour: Colour, width: int) -> Image.Image:
        """Contours of all shapes on top of an image."""
        draw = ImageDraw.Draw(image)
        for points, _ in self.shapes:
            xy = self.xy(points)
            draw.line([*xy, xy[0]], fill=colour, width=width, joint="curve")
        return image

    def mask(self) -> Array:
        """[H, W] bool: inside any shape."""
        return np.asarray(self.fill((0, 0, 0), [(255, 255, 255)] * len(self.shapes)))[..., 0] > 127

    def xy(self, points: Array) -> list[tuple[float, float]]:
        """Points in pixels of the canvas."""
        return [(x, y) for x, y in ((points + 1) * self.pixels / 2).tolist()]


def _rgb(h: float, s: float, v: float) -> Colour:
    r, g, b = colorsys.hsv_to_rgb(h % 1.0, s, v)
    return round(255 * r), round(255 * g), round(255 * b)


def _array(image: Image.Image) -> Array:
    return np.asarray(image, dtype=np.float32)


def _noise(pixels: int, cells: int, rng: Rng) -> Array:
    """[H, W] smooth noise in -1..1 with about ``cells`` bumps a side."""
    field = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(field.resize((pixels, pixels), Image.Resampling.BICUBIC))


def _grid(pixels: int) -> tuple[Array, Array]:
    y, x = np.mgrid[0:pixels, 0:pixels]
    return y, x


def _voronoi(pixels: int, cells: int, rng: Rng) -> tuple[Array, Array, Array]:
    """Cell index [H, W], whether a pixel lies at a border [H, W], and the cell centres [K, 2] (y, x)."""
    step = pixels / cells
    cy, cx = np.mgrid[0:cells, 0:cells]
    centres = (np.stack([cy.ravel(), cx.ravel()], 1) + rng.uniform(0.1, 0.9, (cells * cells, 2))) * step
    half = pixels // 2
    y, x = _grid(half)
    distance = (y[..., None] * 2 - centres[:, 0]) ** 2 + (x[..., None] * 2 - centres[:, 1]) ** 2
    index = distance.argmin(-1).repeat(2, 0).repeat(2, 1)
    border = (index != np.roll(index, 2, 0)) | (index != np.roll(index, 2, 1))
    return index, border, centres


def watercolor(sketch: Sketch, rng: Rng) -> Array:
    """Soft washes with pigment rims on grained paper."""
    n = sketch.pixels
    wash = sketch.fill(_rgb(rng.uniform(0.5, 0.62), 0.10, 0.98), sketch.colours(0.62, 1.12))
    soft = _array(wash.filter(ImageFilter.GaussianBlur(n / 42)))
    rim = np.abs(soft - _array(wash.filter(ImageFilter.GaussianBlur(n / 16)))).mean(-1, keepdims=True)
    bleed = 1 + 0.14 * _noise(n, 7, rng)[..., None] + 0.05 * _noise(n, 36, rng)[..., None]
    washed: Array = np.clip(soft * bleed + 24 - 0.55 * rim, 0, 255)
    return washed


def mosaic(sketch: Sketch, rng: Rng) -> Array:
    """Square stones of one colour each, set in dark grout."""
    n, stone = sketch.pixels, sketch.pixels // 16
    flat = sketch.fill(_rgb(rng.uniform(0.08, 0.14), 0.22, 0.86), sketch.colours(0.95, 0.98))
    small = _array(flat.resize((16, 16), Image.Resampling.BOX)) * rng.uniform(0.84, 1.14, (16, 16, 1))
    picture = small.repeat(stone, 0).repeat(stone, 1)
    y, x = _grid(n)
    grout = (y % stone < 1) | (x % stone < 1)
    picture[grout] = (62, 56, 54)
    return picture


def crayon(sketch: Sketch, rng: Rng) -> Array:
    """Waxy diagonal strokes that let the white paper through."""
    n = sketch.pixels
    wax = _array(sketch.fill((255, 255, 255), sketch.colours(1.05, 0.96)))
    y, x = _grid(n)
    stroke = np.sin((x + 0.8 * y) * 1.05 + 3 * _noise(n, 5, rng)) + 1.1 * _noise(n, n // 2, rng)
    cover = np.where(sketch.mask(), np.clip(0.72 + 0.42 * stroke, 0, 1), 0)[..., None]
    picture = Image.fromarray((252 * (1 - cover) + wax * cover).clip(0, 255).astype(np.uint8), "RGB")
    return _array(sketch.outline(picture, (88, 62, 72), 2))


def pop_art(sketch: Sketch, rng: Rng) -> Array:
    """Flat loud colours and black contours over halftone dots."""
    n = sketch.pixels
    first = float(rng.choice([0.0, 0.14, 0.52, 0.86]))
    flat = sketch.fill(
        (0, 0, 0),
        [_rgb(h + 0.5 * (i % 2) + sketch.hue, 1.0, 1.0) for i, (_, (h, _, _)) in enumerate(sketch.shapes)],
    )
    y, x = _grid(n)
    period = n / 14
    dots = ((x % period - period / 2) ** 2 + (y % period - period / 2) ** 2) < (period * 0.34) ** 2
    back = np.where(dots[..., None], np.array(_rgb(first, 0.9, 1.0)), np.array(_rgb(first + 0.12, 0.30, 1.0)))
    picture = np.where(sketch.mask()[..., None], _array(flat), back).astype(np.uint8)
    return _array(sketch.outline(Image.fromarray(picture, "RGB"), (0, 0, 0), 5))


def cubism(sketch: Sketch, rng: Rng) -> Array:
    """Planes: every facet shows the scene a little shifted and in its own tone."""
    n = sketch.pixels
    scene = _array(sketch.fill(_rgb(rng.uniform(0.08, 0.12), 0.30, 0.80), sketch.colours(0.85, 0.80)))
    index, border, centres = _voronoi(n, 6, rng)
    shift = rng.integers(-n // 26, n // 26 + 1, (len(centres), 2))
    y, x = _grid(n)
    facets = scene[(y + shift[index, 0]).clip(0, n - 1), (x + shift[index, 1]).clip(0, n - 1)]
    slope = rng.uniform(-0.5, 0.5, (len(centres), 2))
    tilt = ((y - centres[index, 0]) * slope[index, 0] + (x - centres[index, 1]) * slope[index, 1]) / (n / 8)
    toned: Array = facets * (0.97 + 0.26 * tilt + rng.uniform(-0.10, 0.10, len(centres))[index])[..., None]
    toned[border] *= 0.5
    return toned


def pointillism(sketch: Sketch, rng: Rng) -> Array:
    """Dabs of pure colour."""
    n = sketch.pixels
    scene = _array(sketch.fill(_rgb(rng.uniform(0.05, 0.16), 0.2, 0.97), sketch.colours(1.0, 1.0)))
    image = Image.new("RGB", (n, n), (246, 240, 226))
    draw = ImageDraw.Draw(image)
    at = rng.integers(0, n, (1150, 2))
    colours = np.clip(scene[at[:, 1], at[:, 0]] + rng.normal(0, 30, (1150, 3)), 0, 255).astype(int)
    for (x, y), colour in zip(at.tolist(), colours.tolist(), strict=True):
        draw.ellipse([x - 2.6, y - 2.6, x + 2.6, y + 2.6], fill=tuple(colour))
    return _array(image)


def ukiyo_e(sketch: Sketch, rng: Rng) -> Array:
    """Woodblock print: faded flat inks, fine contours, a graded sky and waves on cream paper."""
    n = sketch.pixels
    y, x = _grid(n)
    sky = np.clip(1 - y / (0.5 * n), 0, 1)[..., None]
    paper = np.array([238, 222, 188]) * (1 - sky) + np.array([96, 134, 160]) * sky
    wave = np.sin(x / n * 2 * np.pi * 4 + rng.uniform(0, 6)) * n / 28 + n * 0.83
    for band in range(3):
        paper = np.where(
            (np.abs(y - wave - band * n / 13) < n / 52)[..., None], np.array([52, 84, 122]), paper
        )
    inks = _array(sketch.fill((0, 0, 0), sketch.colours(0.55, 0.86))) * np.array([1.0, 0.95, 0.84])
    picture = np.where(sketch.mask()[..., None], inks, paper).clip(0, 255).astype(np.uint8)
    return _array(sketch.outline(Image.fromarray(picture, "RGB"), (44, 44, 66), 2))


def neon(sketch: Sketch, rng: Rng) -> Array:
    """Glowing tubes on a black wall."""
    n = sketch.pixels
    tubes = Image.new("RGB", (n, n), (0, 0, 0))
    draw = ImageDraw.Draw(tubes)
    first = rng.uniform(0, 1)
    for i, (points, _) in enumerate(sketch.shapes):
        xy = sketch.xy(points)
        draw.line([*xy, xy[0]], fill=_rgb(first + 0.31 * (i % 3), 0.85, 1.0), width=4, joint="curve")
    glow = _array(tubes.filter(ImageFilter.GaussianBlur(n / 20))) * 2.4
    return np.clip(np.array([10, 6, 22]) + glow + _array(tubes) * 0.9, 0, 255)


def blueprint(sketch: Sketch, rng: Rng) -> Array:
    """White construction lines on gridded blue paper."""
    n = sketch.pixels
    paper = np.full((n, n, 3), (24, 66, 140), dtype=np.float32) * (1 + 0.07 * _noise(n, 6, rng)[..., None])
    y, x = _grid(n)
    cell, phase = n // 8, int(rng.integers(0, n // 8))
    paper[((y + phase) % cell == 0) | ((x + phase) % cell == 0)] += 36
    return _array(
        sketch.outline(Image.fromarray(paper.clip(0, 255).astype(np.uint8), "RGB"), (232, 242, 255), 3)
    )


def stained_glass(sketch: Sketch, rng: Rng) -> Array:
    """Lit panes of deep colour between lead lines."""
    n = sketch.pixels
    panes = _array(sketch.fill(_rgb(rng.uniform(0.54, 0.62), 0.55, 0.62), sketch.colours(1.4, 0.98)))
    index, border, _ = _voronoi(n, 7, rng)
    lit = panes * rng.uniform(0.72, 1.28, 49)[index][..., None]
    lit[border] = (20, 18, 24)
    return _array(sketch.outline(Image.fromarray(lit.clip(0, 255).astype(np.uint8), "RGB"), (20, 18, 24), 5))


def woodcut(sketch: Sketch, rng: Rng) -> Array:
    """Black ink on pale paper: hatching that thickens where the object is dark."""
    n = sketch.pixels
    tone = _array(sketch.fill((225, 225, 225), sketch.colours(0.4, 0.78)).convert("L")) / 255
    y, x = _grid(n)
    angle = rng.uniform(0.3, 0.6)
    hatch = 0.5 + 0.5 * np.sin((x * np.sin(angle) + y * np.cos(angle)) * 1.3 + 0.8 * _noise(n, 5, rng))
    ink = np.where(sketch.mask(), hatch > tone * 0.98, hatch > 0.97)
    paper = np.where(ink[..., None], np.array([28, 24, 24]), np.array([240, 232, 214])).astype(np.uint8)
    return _array(sketch.outline(Image.fromarray(paper, "RGB"), (24, 20, 20), 4))


def pixel_art(sketch: Sketch, rng: Rng) -> Array:
    """A sprite of few fat pixels and few colours."""
    n = sketch.pixels
    flat = sketch.outline(
        sketch.fill(_rgb(rng.uniform(0.44, 0.5), 0.32, 0.88), sketch.colours(1.1, 1.0)), (30, 26, 44), 5
    )
    small = flat.resize((21, 21), Image.Resampling.BOX)
    sprite = np.round(_array(small) / 51) * 51
    fat = -(-n // 21)
    return sprite.repeat(fat, 0).repeat(fat, 1)[:n, :n]


RENDER: dict[str, Callable[[Sketch, Rng], Array]] = {
    "Watercolor": watercolor,
    "Mosaic": mosaic,
    "Crayon": crayon,
    "Pop Art": pop_art,
    "Cubism": cubism,
    "Pointillism": pointillism,
    "Ukiyo-e": ukiyo_e,
    "Neon": neon,
    "Blueprint": blueprint,
    "Stained Glass": stained_glass,
    "Woodcut": woodcut,
    "Pixel Art": pixel_art,
}
