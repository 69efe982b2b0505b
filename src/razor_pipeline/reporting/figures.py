"""What all figures share: two themes, plain axes, PNG bytes. No pyplot, no global state."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

FONT = "DejaVu Sans"  # ships with matplotlib: the same picture on every machine
DPI = 160
BROWSER_DPI = 96  # pixels of a page in an inch


@dataclass(frozen=True)
class Theme:
    """Colours of a figure; blue and orange stay apart for every kind of colour vision.

    Attributes:
        paper: background.
        ink: text and strong lines.
        muted: secondary text.
        line: grid and frames.
        good: right answers, retention, the kept state.
        accent: edited components, the goal, wrong answers.
        ramp: colours of a heat map from low to high.
    """

    paper: str
    ink: str
    muted: str
    line: str
    good: str
    accent: str
    ramp: tuple[str, ...]

    @property
    def colormap(self) -> LinearSegmentedColormap:
        """The heat map's colours."""
        return LinearSegmentedColormap.from_list("score", list(self.ramp))


LIGHT = Theme(
    paper="#ffffff",
    ink="#1b2430",
    muted="#5b6675",
    line="#dde2e8",
    good="#0b66b0",
    accent="#c2500a",
    ramp=("#f3f6f9", "#c6dbe8", "#7fb2d0", "#3a7fb0", "#144a7c", "#0a2447"),
)
DARK = Theme(
    paper="#171d26",
    ink="#e8edf3",
    muted="#9aa7b6",
    line="#323c4a",
    good="#6db8f2",
    accent="#ff9d4d",
    ramp=("#1f2733", "#234059", "#2b6690", "#4394c2", "#8fc8e4", "#e6f5fb"),
)


def new_figure(width: float, height: float, theme: Theme) -> Figure:
    """An empty figure of a size in inches."""
    return Figure(
        figsize=(width, height),
        dpi=DPI,
        facecolor=theme.paper,
        layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12),
    )


def dress(axes: Axes, theme: Theme, title: str = "", x: str = "", y: str = "") -> None:
    """Title, labels, quiet frame."""
    text: dict[str, Any] = {"fontfamily": FONT, "color": theme.ink}
    axes.set_facecolor(theme.paper)
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", pad=10, **text)
    axes.set_xlabel(x, fontsize=9.5, **text)
    axes.set_ylabel(y, fontsize=9.5, **text)
    axes.tick_params(colors=theme.muted, labelcolor=theme.ink, labelsize=9, length=3, labelfontfamily=FONT)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.line)


def say(axes: Axes, text: str, theme: Theme) -> None:
    """A sentence in place of data."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", color=theme.muted, fontsize=10, fontfamily=FONT)


def png(figure: Figure, colours: int | None = 256) -> bytes:
    """The figure as PNG, the same bytes every time; a palette of so many colours, or None for photographs."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # savefig would draw twice
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    image = Image.fromarray(pixels).convert("RGB")
    if colours is not None:
        image = image.quantize(colours, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", dpi=(DPI, DPI))
    return buffer.getvalue()


def themed(draw: Callable[[Theme], bytes]) -> dict[str, bytes]:
    """One figure for light and dark screens."""
    return {"light": draw(LIGHT), "dark": draw(DARK)}


def drawn_width(image: bytes) -> int:
    """Width in a page's pixels at which a figure's text has the size that it was drawn in."""
    return round(Image.open(io.BytesIO(image)).width * BROWSER_DPI / DPI)


def data_uri(image: bytes | Image.Image) -> str:
    """A picture as the address that holds it."""
    if isinstance(image, Image.Image):
        buffer = io.BytesIO()
        image.save(buffer, "PNG", optimize=True)
        image = buffer.getvalue()
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"
