"""Portraits of the cast: the bust of one person at one moment, drawn feature by feature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from razor_pipeline.atelier.pen import Colour, Pen, shade
from razor_pipeline.atelier.people import Features

SKIN: dict[str, Colour] = {
    "porcelain": (250, 224, 208),
    "rose": (242, 196, 178),
    "sand": (228, 184, 146),
    "honey": (206, 152, 104),
    "bronze": (172, 116, 76),
    "umber": (124, 80, 54),
    "ebony": (84, 54, 40),
}
HAIR: dict[str, Colour] = {
    "black": (34, 30, 36),
    "brown": (98, 60, 36),
    "blond": (232, 196, 108),
    "red": (190, 74, 34),
    "grey": (168, 168, 176),
    "blue": (52, 104, 196),
    "pink": (236, 116, 168),
}
EYES: dict[str, Colour] = {
    "brown": (92, 54, 28),
    "blue": (54, 122, 204),
    "green": (54, 150, 84),
    "amber": (206, 136, 30),
}
CLOTH: dict[str, Colour] = {
    "red": (204, 48, 48),
    "green": (52, 148, 76),
    "navy": (36, 56, 120),
    "yellow": (240, 196, 44),
    "purple": (128, 62, 168),
    "teal": (30, 160, 164),
}
FACE = {
    "round": (0.45, 0.47, 2.0),
    "oval": (0.40, 0.52, 2.1),
    "square": (0.44, 0.49, 3.4),
    "long": (0.36, 0.57, 2.3),
}


@dataclass(frozen=True)
class Moment:
    """What changes between two photographs of one person."""

    turn: float
    nod: float
    smile: float
    open_mouth: float
    lid: float
    brow: float
    shirt: Colour


def draw_person(pen: Pen, f: Features, m: Moment) -> None:
    """The bust of a person, back to front; near parts shift more with the turn of the head than far ones."""
    near, mid, far = 0.10 * m.turn, 0.05 * m.turn, -0.03 * m.turn
    lift = 0.03 * m.nod
    rx, ry, power = FACE[f.face]
    skin, hair = SKIN[f.skin], HAIR[f.hair_colour]
    _back_hair(pen, f, far, rx, ry, hair)
    _bust(pen, f, m, skin)
    for side in (-1, 1):
        pen.ellipse(far + side * rx * 0.99, 0.02, 0.085, 0.12, shade(skin, 0.86))
    pen.oval(mid * 0.4, 0.0, rx, ry, shade(skin, 0.9), power)
    pen.oval(mid * 0.4 - 0.015, -0.015, rx * 0.95, ry * 0.95, skin, power)
    _marks(pen, f, near, lift, rx, skin)
    _beard(pen, f, mid, near, lift, rx, ry, power, hair)
    _mouth(pen, m, near, lift + 0.27)
    _nose(pen, f, near * 1.25, lift, skin)
    _eyes(pen, f, m, near, lift)
    _front_hair(pen, f, mid, rx, ry, hair)
    _glasses(pen, f, near, lift)
    _hat(pen, f, mid, rx, ry)


def _bust(pen: Pen, f: Features, m: Moment, skin: Colour) -> None:
    pen.oval(0, 1.12, 0.74, 0.52, shade(m.shirt, 0.85), 2.4)
    pen.oval(-0.02, 1.14, 0.70, 0.51, m.shirt, 2.4)
    pen.polygon([(-0.17, 0.36), (0.17, 0.36), (0.19, 0.72), (0, 0.82), (-0.19, 0.72)], shade(skin, 0.8))
    if f.scarf != "none":
        scarf = CLOTH[f.scarf]
        pen.oval(0, 0.66, 0.40, 0.15, shade(scarf, 0.75), 2.6)
        pen.oval(0, 0.63, 0.39, 0.12, scarf, 2.6)
        pen.polygon([(0.10, 0.66), (0.26, 0.64), (0.30, 1.0), (0.12, 1.0)], shade(scarf, 0.88))


def _back_hair(pen: Pen, f: Features, far: float, rx: float, ry: float, hair: Colour) -> None:
    dark = shade(hair, 0.72)
    if f.hair_style == "long":
        pen.oval(far, 0.16, rx + 0.17, ry + 0.24, dark, 3.0)
    elif f.hair_style == "bob":
        pen.oval(far, 0.0, rx + 0.15, ry + 0.06, dark, 3.2)
    elif f.hair_style == "bun":
        pen.ellipse(far, -ry - 0.13, 0.19, 0.17, dark)
        pen.ellipse(far - 0.03, -ry - 0.15, 0.15, 0.13, hair)
    elif f.hair_style == "curly":
        for angle in np.linspace(np.pi * 0.92, np.pi * 2.08, 13):
            pen.ellipse(
                far + (rx + 0.07) * np.cos(angle), -0.06 + (ry + 0.03) * np.sin(angle), 0.14, 0.14, dark
            )


def _front_hair(pen: Pen, f: Features, mid: float, rx: float, ry: float, hair: Colour) -> None:
    light = shade(hair, 1.16)
    if f.hair_style == "bald":
        return
    if f.hair_style == "mohawk":
        pen.polygon(
            [
                (mid - 0.10, -ry * 0.55),
                (mid - 0.13, -ry - 0.26),
                (mid + 0.02, -ry - 0.34),
                (mid + 0.14, -ry - 0.24),
                (mid + 0.10, -ry * 0.55),
            ],
            hair,
        )
        return
    if f.hair_style == "curly":
        for angle in np.linspace(np.pi * 1.08, np.pi * 1.92, 8):
            pen.ellipse(mid + rx * 0.86 * np.cos(angle), -0.03 + ry * 0.86 * np.sin(angle), 0.13, 0.12, hair)
        return
    low = -0.42 if f.hair_style in ("short", "bun") else -0.30
    pen.oval(mid * 0.6, -0.01, rx + 0.05, ry + 0.06, hair, 2.2, high=low)
    part = mid + (0.14 if f.hair_style in ("long", "short") else -0.12)
    pen.line([(part, -ry - 0.02), (part - 0.22, -ry * 0.72)], light, 0.03)
    if f.hair_style in ("long", "bob"):
        for side in (-1, 1):
            pen.oval(
                mid * 0.6 + side * (rx + 0.01),
                -0.02,
                0.08,
                ry * (0.85 if f.hair_style == "long" else 0.62),
                hair,
                2.4,
            )


def _marks(pen: Pen, f: Features, near: float, lift: float, rx: float, skin: Colour) -> None:
    if f.mark == "freckles":
        for x, y in (
            (-0.24, 0.10),
            (-0.17, 0.14),
            (-0.28, 0.16),
            (0.24, 0.10),
            (0.17, 0.14),
            (0.28, 0.16),
            (-0.21, 0.19),
            (0.21, 0.19),
        ):
            pen.ellipse(near + x * rx / 0.42, lift + y, 0.02, 0.02, shade(skin, 0.66))
    elif f.mark == "blush":
        for side in (-1, 1):
            pen.ellipse(
                near + side * 0.25,
                lift + 0.15,
                0.095,
                0.065,
                (min(255, skin[0] + 14), round(skin[1] * 0.72), round(skin[2] * 0.72)),
            )
    elif f.mark == "mole":
        pen.ellipse(near + 0.20, lift + 0.20, 0.032, 0.032, (56, 32, 26))


def _eyes(pen: Pen, f: Features, m: Moment, near: float, lift: float) -> None:
    y, brow_y = lift - 0.06, lift - 0.20 - 0.025 * m.brow
    width = {"thin": 0.028, "thick": 0.062, "angled": 0.045}[f.brows]
    colour = shade(HAIR[f.hair_colour], 0.6) if f.hair_style != "bald" else (60, 44, 36)
    tilt = 0.055 if f.brows == "angled" else 0.0
    for side in (-1, 1):
        x = near + side * 0.175
        pen.ellipse(x, y, 0.088, 0.062 * m.lid, (250, 250, 248))
        pen.ellipse(x + 0.02 * m.turn, y, 0.05, min(0.05, 0.06 * m.lid), EYES[f.eyes])
        pen.ellipse(x + 0.02 * m.turn, y, 0.022, 0.024, (16, 14, 16))
        pen.line(
            [(x - side * 0.10, brow_y + tilt), (x, brow_y - 0.02), (x + side * 0.10, brow_y + 0.015 - tilt)],
            colour,
            width,
        )


def _nose(pen: Pen, f: Features, near: float, lift: float, skin: Colour) -> None:
    dark = shade(skin, 0.76)
    wide, long = {"small": (0.035, 0.09), "long": (0.04, 0.18), "wide": (0.085, 0.12)}[f.nose]
    pen.line([(near, lift - 0.02), (near + 0.012, lift + long)], dark, 0.03)
    pen.ellipse(near, lift + long, wide + 0.012, 0.034, dark)


def _mouth(pen: Pen, m: Moment, near: float, y: float) -> None:
    curve, wide = 0.055 * m.smile, 0.14
    if m.open_mouth > 0.35:
        pen.ellipse(near, y + 0.015, wide * 0.8, 0.03 + 0.045 * m.open_mouth, (116, 34, 38))
        pen.ellipse(near, y - 0.005, wide * 0.6, 0.018, (246, 244, 240))
    else:
        pen.line(
            [(near - wide, y - curve), (near, y + curve * 0.6), (near + wide, y - curve)],
            (168, 62, 66),
            0.042,
        )


def _beard(
    pen: Pen,
    f: Features,
    mid: float,
    near: float,
    lift: float,
    rx: float,
    ry: float,
    power: float,
    hair: Colour,
) -> None:
    colour = shade(hair, 0.82)
    if f.beard == "full":
        pen.oval(mid * 0.6, 0.02, rx * 0.99, ry * 1.06, colour, power, low=0.34)
        pen.oval(near, lift + 0.25, 0.20, 0.10, shade(colour, 1.1))
    elif f.beard == "goatee":
        pen.oval(near * 0.9, lift + 0.42, 0.13, 0.13, colour, 2.4)
    if f.beard in ("full", "moustache"):
        pen.polygon(
            [
                (near - 0.19, lift + 0.24),
                (near - 0.05, lift + 0.165),
                (near + 0.05, lift + 0.165),
                (near + 0.19, lift + 0.24),
                (near, lift + 0.225),
            ],
            shade(colour, 0.9),
        )


def _glasses(pen: Pen, f: Features, near: float, lift: float) -> None:
    if f.glasses == "none":
        return
    y, frame = lift - 0.055, (26, 26, 32)
    for side in (-1, 1):
        x = near + side * 0.18
        if f.glasses == "sun":
            pen.oval(x, y + 0.01, 0.155, 0.115, (22, 24, 34), 2.8)
            pen.line([(x - 0.07, y + 0.03), (x + 0.01, y - 0.06)], (96, 108, 130), 0.03)
        elif f.glasses == "round":
            pen.ellipse(x, y, 0.145, 0.145, None, (150, 96, 30), 0.036)
        else:
            w, h = 0.15, 0.105
            pen.line(
                [
                    (x - w, y - h),
                    (x + w, y - h),
                    (x + w, y + h),
                    (x - w, y + h),
                    (x - w, y - h),
                    (x + w, y - h),
                ],
                frame,
                0.04,
            )
        pen.line([(x + side * 0.14, y - 0.02), (x + side * 0.24, y - 0.05)], frame, 0.03)
    pen.line([(near - 0.05, y - 0.02), (near + 0.05, y - 0.02)], frame, 0.034)


def _hat(pen: Pen, f: Features, mid: float, rx: float, ry: float) -> None:
    if f.hat == "none":
        return
    colour = CLOTH[f.hat_colour]
    dark, top = shade(colour, 0.66), -ry * 0.52
    if f.hat == "cap":
        pen.oval(mid * 0.6, top + 0.06, rx + 0.06, ry * 0.72, colour, 2.2, high=0.0)
        pen.oval(mid * 1.6, top + 0.07, rx * 0.92, 0.075, dark, 2.4)
    elif f.hat == "beanie":
        pen.oval(mid * 0.6, top + 0.04, rx + 0.07, ry * 0.82, colour, 2.3, high=0.0)
        pen.oval(mid * 0.6, top + 0.02, rx + 0.09, 0.075, dark, 4.0)
        pen.ellipse(mid * 0.6, top - ry * 0.80, 0.09, 0.09, shade(colour, 1.25))
    elif f.hat == "top":
        pen.oval(mid * 0.6, top - 0.24, rx * 0.78, 0.28, colour, 7.0)
        pen.oval(mid * 0.6, top - 0.05, rx * 0.79, 0.06, dark, 6.0)
        pen.oval(mid * 0.6, top + 0.03, rx + 0.17, 0.055, colour, 2.4)
    else:
        pen.oval(mid * 0.6, top + 0.02, rx * 0.84, ry * 0.62, colour, 2.4, high=0.0)
        pen.oval(mid * 0.6, top - 0.02, rx * 0.86, 0.06, dark, 5.0)
        pen.oval(mid * 0.6, top + 0.06, rx + 0.34, 0.085, shade(colour, 1.1), 2.2)
