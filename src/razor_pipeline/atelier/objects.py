"""The objects of the canvas as flat shapes: outline points in half-canvas units and a colour in HSV."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Hsv = tuple[float, float, float]


@dataclass(frozen=True)
class Shape:
    """A filled outline: ``points`` [P, 2] in half-canvas units, colour as HSV in [0, 1]."""

    points: np.ndarray
    hsv: Hsv


def oval(x: float, y: float, rx: float, ry: float, hsv: Hsv, turn: float = 0.0) -> Shape:
    """An ellipse, turned by ``turn`` radians."""
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    u, v = rx * np.cos(t), ry * np.sin(t)
    c, s = np.cos(turn), np.sin(turn)
    return Shape(np.stack([x + c * u - s * v, y + s * u + c * v], 1), hsv)


def poly(hsv: Hsv, *points: tuple[float, float]) -> Shape:
    """A polygon."""
    return Shape(np.array(points, dtype=float), hsv)


def box(x0: float, y0: float, x1: float, y1: float, hsv: Hsv) -> Shape:
    """An upright rectangle."""
    return poly(hsv, (x0, y0), (x1, y0), (x1, y1), (x0, y1))


ORANGE, RED, YELLOW, GREEN = (0.08, 0.75, 0.93), (0.99, 0.78, 0.84), (0.14, 0.75, 0.96), (0.34, 0.65, 0.60)
BLUE, SKY, BROWN, CREAM = (0.61, 0.72, 0.76), (0.54, 0.5, 0.92), (0.07, 0.62, 0.50), (0.11, 0.22, 0.96)
DARK, GREY, PINK, PURPLE = (0.65, 0.35, 0.20), (0.60, 0.10, 0.64), (0.93, 0.48, 0.95), (0.77, 0.55, 0.72)

SHAPES: dict[str, tuple[Shape, ...]] = {
    "cat": (
        poly(ORANGE, (0.42, 0.62), (0.74, 0.50), (0.82, 0.06), (0.94, 0.10), (0.88, 0.58), (0.50, 0.78)),
        oval(0.12, 0.42, 0.44, 0.40, ORANGE),
        poly(ORANGE, (-0.62, -0.62), (-0.56, -0.06), (-0.26, -0.34)),
        poly(ORANGE, (0.18, -0.62), (0.12, -0.06), (-0.16, -0.34)),
        oval(-0.22, -0.10, 0.40, 0.35, ORANGE),
        oval(-0.36, -0.14, 0.065, 0.10, GREEN),
        oval(-0.08, -0.14, 0.065, 0.10, GREEN),
        oval(-0.22, 0.06, 0.07, 0.05, PINK),
        oval(0.05, 0.48, 0.20, 0.24, CREAM),
    ),
    "dog": (
        box(-0.40, 0.30, -0.24, 0.82, BROWN),
        box(0.34, 0.30, 0.50, 0.82, BROWN),
        oval(0.06, 0.22, 0.54, 0.27, BROWN),
        poly(BROWN, (0.50, 0.14), (0.86, -0.26), (0.92, -0.18), (0.60, 0.30)),
        oval(-0.46, -0.22, 0.29, 0.27, BROWN),
        oval(-0.72, -0.12, 0.20, 0.13, CREAM),
        oval(-0.88, -0.16, 0.06, 0.05, DARK),
        oval(-0.28, -0.16, 0.11, 0.29, DARK),
        oval(-0.54, -0.28, 0.045, 0.05, DARK),
        box(-0.56, 0.02, -0.26, 0.09, RED),
    ),
    "fish": (
        poly(ORANGE, (0.38, 0.0), (0.88, -0.42), (0.78, 0.0), (0.88, 0.42)),
        poly(YELLOW, (-0.20, -0.28), (0.10, -0.66), (0.30, -0.20)),
        poly(YELLOW, (-0.10, 0.28), (0.12, 0.58), (0.24, 0.22)),
        oval(-0.10, 0.0, 0.62, 0.37, ORANGE),
        poly(CREAM, (-0.30, -0.34), (-0.18, -0.36), (-0.10, 0.36), (-0.24, 0.35)),
        poly(CREAM, (0.12, -0.33), (0.22, -0.30), (0.28, 0.28), (0.17, 0.32)),
        oval(-0.50, -0.08, 0.085, 0.085, CREAM),
        oval(-0.52, -0.08, 0.04, 0.045, DARK),
    ),
    "bird": (
        poly(BLUE, (0.30, 0.10), (0.94, -0.10), (0.90, 0.16), (0.40, 0.36)),
        oval(0.0, 0.14, 0.46, 0.33, BLUE),
        oval(-0.40, -0.26, 0.26, 0.25, BLUE),
        poly(YELLOW, (-0.62, -0.32), (-0.94, -0.20), (-0.62, -0.14)),
        oval(-0.10, 0.24, 0.28, 0.20, CREAM),
        poly(SKY, (-0.16, 0.0), (0.36, -0.12), (0.50, 0.26), (0.06, 0.22)),
        oval(-0.46, -0.30, 0.05, 0.05, DARK),
        box(-0.10, 0.44, -0.05, 0.78, ORANGE),
        box(0.10, 0.44, 0.15, 0.78, ORANGE),
    ),
    "butterfly": (
        oval(-0.44, -0.30, 0.42, 0.35, PURPLE, 0.5),
        oval(0.44, -0.30, 0.42, 0.35, PURPLE, -0.5),
        oval(-0.34, 0.34, 0.31, 0.29, PINK, -0.4),
        oval(0.34, 0.34, 0.31, 0.29, PINK, 0.4),
        oval(-0.48, -0.30, 0.15, 0.14, YELLOW),
        oval(0.48, -0.30, 0.15, 0.14, YELLOW),
        oval(0.0, 0.06, 0.085, 0.50, DARK),
        poly(DARK, (-0.02, -0.38), (-0.26, -0.82), (-0.20, -0.84), (0.02, -0.42)),
        poly(DARK, (0.02, -0.38), (0.26, -0.82), (0.20, -0.84), (-0.02, -0.42)),
    ),
    "tree": (
        poly(BROWN, (-0.12, 0.10), (0.12, 0.10), (0.20, 0.90), (-0.20, 0.90)),
        oval(-0.34, 0.0, 0.36, 0.31, GREEN),
        oval(0.34, 0.0, 0.36, 0.31, GREEN),
        oval(0.0, -0.36, 0.46, 0.43, (0.31, 0.6, 0.72)),
        oval(-0.20, -0.30, 0.07, 0.07, RED),
        oval(0.22, -0.12, 0.07, 0.07, RED),
        oval(-0.36, 0.06, 0.07, 0.07, RED),
        oval(0.08, -0.56, 0.07, 0.07, RED),
    ),
    "house": (
        box(0.28, -0.76, 0.46, -0.30, BROWN),
        box(-0.56, -0.10, 0.56, 0.78, CREAM),
        poly(RED, (-0.76, -0.06), (0.0, -0.78), (0.76, -0.06)),
        box(-0.12, 0.26, 0.16, 0.78, BROWN),
        box(-0.44, 0.10, -0.22, 0.36, SKY),
        box(0.26, 0.10, 0.46, 0.36, SKY),
        oval(0.0, -0.30, 0.11, 0.11, SKY),
    ),
    "boat": (
        box(-0.03, -0.82, 0.04, 0.36, BROWN),
        poly(CREAM, (0.08, -0.76), (0.70, 0.22), (0.08, 0.22)),
        poly(RED, (-0.08, -0.60), (-0.58, 0.22), (-0.08, 0.22)),
        poly(BLUE, (-0.84, 0.32), (0.84, 0.32), (0.54, 0.74), (-0.54, 0.74)),
        poly(CREAM, (-0.76, 0.43), (0.76, 0.43), (0.71, 0.51), (-0.71, 0.51)),
    ),
    "car": (
        poly(SKY, (-0.46, -0.02), (-0.26, -0.44), (0.30, -0.44), (0.54, -0.02)),
        poly(RED, (-0.90, 0.36), (-0.88, 0.06), (-0.48, -0.06), (0.56, -0.06), (0.88, 0.10), (0.90, 0.36)),
        box(-0.02, -0.44, 0.06, 0.0, RED),
        oval(-0.50, 0.38, 0.21, 0.21, DARK),
        oval(0.50, 0.38, 0.21, 0.21, DARK),
        oval(-0.50, 0.38, 0.09, 0.09, GREY),
        oval(0.50, 0.38, 0.09, 0.09, GREY),
        oval(0.82, 0.12, 0.06, 0.06, YELLOW),
    ),
    "flower": (
        box(-0.045, 0.0, 0.045, 0.92, GREEN),
        oval(0.22, 0.56, 0.24, 0.095, GREEN, -0.5),
        oval(-0.22, 0.68, 0.24, 0.095, GREEN, 0.5),
        *(
            oval(0.36 * np.cos(a), -0.28 + 0.36 * np.sin(a), 0.24, 0.16, PINK, a)
            for a in np.arange(7) * 2 * np.pi / 7
        ),
        oval(0.0, -0.28, 0.19, 0.19, YELLOW),
    ),
    "teapot": (
        poly(PURPLE, (-0.40, 0.16), (-0.90, -0.30), (-0.78, -0.36), (-0.36, -0.08)),
        oval(0.58, 0.10, 0.28, 0.29, PURPLE),
        oval(0.60, 0.10, 0.15, 0.17, CREAM),
        oval(0.0, 0.18, 0.52, 0.47, PURPLE),
        poly(PINK, (-0.30, -0.22), (0.30, -0.22), (0.20, -0.38), (-0.20, -0.38)),
        oval(0.0, -0.46, 0.10, 0.10, YELLOW),
        poly(YELLOW, (-0.50, 0.12), (0.50, 0.12), (0.50, 0.26), (-0.50, 0.26)),
    ),
    "mushroom": (
        poly(CREAM, (-0.20, 0.0), (0.20, 0.0), (0.28, 0.80), (-0.28, 0.80)),
        Shape(
            np.stack([0.78 * np.cos(t := np.linspace(np.pi, 2 * np.pi, 30)), 0.10 + 0.78 * np.sin(t)], 1), RED
        ),
        poly(ORANGE, (-0.78, 0.08), (0.78, 0.08), (0.62, 0.20), (-0.62, 0.20)),
        oval(-0.36, -0.22, 0.13, 0.12, CREAM),
        oval(0.10, -0.42, 0.15, 0.13, CREAM),
        oval(0.44, -0.14, 0.12, 0.11, CREAM),
    ),
}
