"""The heat map of scores: components of a layer x layers, a panel per tower, edited ones framed."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from razor_pipeline.reporting.figures import FONT, LIGHT, Theme, dress, new_figure, png, say

ORDER = ("attention.head", "attention.q", "attention.k", "attention.v", "attention.out", "mlp.fc1", "mlp.fc2")


def score_heatmap(
    scores: pd.DataFrame, edited: Collection[str], theme: Theme = LIGHT, narrow: bool = False
) -> bytes:
    """Draw the scores of all components.

    Args:
        scores: fields of ``core.scoring.ComponentScore``.
        edited: names of the edited components.
        theme: colours.
        narrow: towers below each other, for a phone.

    Returns:
        A PNG.
    """
    towers = list(dict.fromkeys(sorted(scores["tower"], key=lambda tower: (tower != "vision", tower))))
    grids = {tower: _grid(scores[scores["tower"] == tower]) for tower in towers}
    figure = _canvas(grids, theme, narrow)
    if not towers:
        say(figure.subplots(), "no component was scored", theme)
        return png(figure)
    norm = PowerNorm(0.5, vmin=0.0, vmax=float(scores["score"].max()) or 1.0)
    shape = (len(towers), 1) if narrow else (1, len(towers))
    ratios = [grid.shape[0 if narrow else 1] for grid in grids.values()]
    stretch = {"height_ratios": ratios} if narrow else {"width_ratios": ratios}
    axes = figure.subplots(*shape, squeeze=False, gridspec_kw=stretch).ravel()
    for axis, (tower, grid) in zip(axes, grids.items(), strict=True):
        _panel(axis, tower, grid, scores, edited, theme, norm)
    _legend(figure, list(axes), norm, theme)
    return png(figure)


def row_name(component: str) -> str:
    """The component without tower and layer: ``vision.3.mlp.fc1`` -> ``mlp.fc1``."""
    return re.sub(r"^[^.]+\.(\d+\.)?", "", component)


def _place(name: str) -> tuple[int, list[tuple[int, int | str]]]:
    """Sort key: attention before mlp before the rest, numbers by value."""
    known = next((i for i, prefix in enumerate(ORDER) if name.startswith(prefix)), len(ORDER))
    pieces = [part for part in re.split(r"(\d+)", name) if part]
    return known, [(0, int(part)) if part.isdigit() else (1, part) for part in pieces]


def _grid(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores as a table: row names x layers; NaN where a layer has no such component."""
    named = scores.assign(row=[row_name(name) for name in scores["component"]])
    table = named.pivot_table(index="row", columns="layer", values="score", aggfunc="max")
    return table.reindex(index=sorted(table.index, key=_place))


def _canvas(grids: dict[str, pd.DataFrame], theme: Theme, narrow: bool) -> Figure:
    rows = [len(grid) for grid in grids.values()] or [3]
    height = sum(rows) * 0.3 + 1.0 * len(rows) + 0.8 if narrow else max(rows) * 0.34 + 1.7
    return new_figure(4.2 if narrow else 9.0, min(max(height, 3.0), 40.0), theme)


def _panel(
    axes: Axes,
    tower: str,
    grid: pd.DataFrame,
    scores: pd.DataFrame,
    edited: Collection[str],
    theme: Theme,
    norm: Normalize,
) -> None:
    dress(axes, theme, f"{tower.capitalize()} tower", "layer")
    values: NDArray[np.float64] = np.ma.masked_invalid(grid.to_numpy(dtype=float))
    edges = np.arange(len(grid.columns) + 1) - 0.5, np.arange(len(grid) + 1) - 0.5
    axes.pcolormesh(*edges, values, cmap=theme.colormap, norm=norm, edgecolors=theme.paper, linewidth=1.5)
    axes.invert_yaxis()
    axes.set_yticks(range(len(grid)), [str(name) for name in grid.index])
    every = max(1, len(grid.columns) // 12)
    axes.set_xticks(range(0, len(grid.columns), every), [str(layer) for layer in grid.columns[::every]])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    place = {str(name): i for i, name in enumerate(grid.index)}
    column = {int(layer): i for i, layer in enumerate(grid.columns)}
    mine = scores[(scores["tower"] == tower) & scores["component"].isin(list(edited))]
    for name, layer in zip(mine["component"], mine["layer"], strict=True):
        _outline(axes, column[int(layer)], place[row_name(str(name))], theme)


def _outline(axes: Axes, x: int, y: int, theme: Theme) -> None:
    """Frame and dot: neither colour alone nor shape alone has to be seen."""
    frame = Rectangle((x - 0.44, y - 0.42), 0.88, 0.84, fill=False, edgecolor=theme.accent, linewidth=2.0)
    axes.add_patch(frame)
    axes.plot(x, y, "o", color=theme.accent, markersize=4.5, markeredgecolor=theme.paper, markeredgewidth=0.8)


def _legend(figure: Figure, axes: list[Axes], norm: Normalize, theme: Theme) -> None:
    bar = figure.colorbar(
        ScalarMappable(norm, theme.colormap), ax=axes, location="bottom", aspect=45, pad=0.02, shrink=0.9
    )
    bar.set_label(
        "score φ: leverage on forgetting x safety for the rest   (framed: edited)",
        fontsize=8.5 if len(axes) > 1 else 8,
        color=theme.ink,
        fontfamily=FONT,
        wrap=True,
    )
    bar.set_ticks([0.0, norm.vmax / 4, norm.vmax] if norm.vmax else [0.0])
    bar.ax.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    bar.ax.tick_params(colors=theme.muted, labelcolor=theme.ink, labelsize=8.5, length=3)
    bar.outline.set_visible(False)
