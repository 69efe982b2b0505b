"""A pen that draws in units of the half canvas: (0, 0) is the middle of the picture, (-1, -1) its upper left corner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]


class Pen:
    """Draws shapes on a transparent square layer of so many pixels a side."""

    def __init__(self, pixels: int) -> None:
        self.image = Image.new("RGBA", (pixels, pixels), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.image)
        self.half = pixels / 2

    def _xy(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(self.half * (1 + x), self.half * (1 + y)) for x, y in points]

    def polygon(self, points: Sequence[tuple[float, float]], fill: Colour) -> None:
        """A filled polygon."""
        self.draw.polygon(self._xy(points), fill=fill)

    def ellipse(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        fill: Colour | None,
        line: Colour | None = None,
        width: float = 0,
    ) -> None:
        """An ellipse, filled or as a ring."""
        box = self._xy([(x - rx, y - ry), (x + rx, y + ry)])
        self.draw.ellipse([box[0], box[1]], fill=fill, outline=line, width=round(width * self.half))

    def line(self, points: Sequence[tuple[float, float]], fill: Colour, width: float) -> None:
        """A polyline with round joints."""
        self.draw.line(self._xy(points), fill=fill, width=max(1, round(width * self.half)), joint="curve")

    def oval(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        fill: Colour,
        power: float = 2.0,
        low: float = -1.0,
        high: float = 1.0,
    ) -> None:
        """A superellipse, cut to the band ``low <= (v - y) / ry <= high``."""
        angle = np.linspace(0, 2 * np.pi, 56, endpoint=False)
        c, s = np.cos(angle), np.sin(angle)
        u = x + rx * np.sign(c) * np.abs(c) ** (2 / power)
        v = np.clip(np.sign(s) * np.abs(s) ** (2 / power), low, high) * ry + y
        self.polygon(list(zip(u.tolist(), v.tolist(), strict=True)), fill)


def shade(colour: Colour, factor: float) -> Colour:
    """The colour, darker (< 1) or lighter (> 1)."""
    r, g, b = (min(255, max(0, round(channel * factor))) for channel in colour)
    return r, g, b
