"""leaderboard.html: methods side by side, sortable, with a forget-retain scatter; self-contained."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from razor_pipeline.reporting.figures import FONT, LIGHT, Theme, dress, new_figure, png, themed
from razor_pipeline.reporting.templates import template
from razor_pipeline.studies.leaderboard import FIGURES, RANKED_BY
from razor_pipeline.studies.tables import SHARE, interval_text

# CLIP, identity erasure on CIFAR-10-sized evaluation: RAZOR, table 3 (arXiv 2603.14819). Other models and other data:
# to be read beside the leaderboard, never in it.
PUBLISHED = pd.DataFrame(
    [
        ("SSD", 52.0, 25.0, 97.5),
        ("SalUn", 97.0, 83.0, 84.5),
        ("SLUG", 67.5, 87.5, 96.5),
        ("RAZOR", 52.5, 89.0, 100.0),
    ],
    columns=["method", "M1", "M4", "M5"],
)
# UnlearnCanvas (NeurIPS 2024 D&B), Stable Diffusion 1.5; SLUG and RAZOR from their own papers. In per cent.
PUBLISHED_DRAWING = pd.DataFrame(
    [
        ("ESD", 98.58, 80.97, 93.96, 92.15, 55.78, 44.23),
        ("UCE", 98.40, 60.22, 47.71, 94.31, 39.35, 34.67),
        ("SalUn", 86.26, 90.39, 95.08, 86.91, 96.35, 99.59),
        ("SLUG", 86.29, 84.59, 88.43, 75.43, 77.50, 81.18),
        ("RAZOR", 99.26, None, None, 97.91, None, None),
    ],
    columns=["method", "style UA", "style IRA", "style CRA", "object UA", "object IRA", "object CRA"],
)
NO_GAP = (
    "no model trained without a target is at hand, and so no gap to retraining "
    "(beside `retrained`, globals.yml says what trains one)."
)
RANKING = {
    "gap_to_retraining": "Ranked by the gap to retraining: the mean absolute difference from a model trained without "
    "the target, which is the first line. What else that model never saw counts neither in the gap nor in its line.",
    "mean_ua_ira_cra": f"Ranked by the mean of UA, IRA and CRA, as two judges see the drawings: {NO_GAP}",
}
UNRANKED = f"Not ranked: {NO_GAP}"
# By what was compared: models that draw, or models that recognise.
ELSEWHERE = {
    "recognition": (
        "CLIP, other people and other data (RAZOR, arXiv 2603.14819, table 3; M1 forgetting, M4 retention, M5 "
        "agreement, in per cent as printed there). Not comparable with the table above.",
        PUBLISHED,
    ),
    "drawing": (
        "Stable Diffusion 1.5 on UnlearnCanvas (NeurIPS 2024 D&B; SLUG, arXiv 2407.11867, and RAZOR, arXiv 2603.14819, "
        "from their own papers), in per cent. Another model and other data: not comparable with the table above.",
        PUBLISHED_DRAWING,
    ),
}
# Figures of the scatter, retention and forgetting, with their axes.
AXES = {
    "recognition": (
        ("retain_drop", "others, drop (points)"),
        ("edited_forget_accuracy", "target recognised (%)"),
    ),
    "drawing": (("ira_drop", "IRA, drop (points)"), ("ua", "UA (%)")),
}
BARS = {
    "seconds": ("Time of an edit", "seconds, logarithmic", "log"),
    "peak_rss_mb": ("Peak memory", "MB", "linear"),
}
MARKERS = "osD^v<>Ph*X"  # names of methods that lie on one another could not be read
DIFFERENCES = ("drop", "rise", "loss", "gap_to_retraining")  # of shares, and so in per cent as they are
SHARES = (
    "accuracy",
    "accuracy_top5",
    "agreement",
    "fraction",
    "ua",
    "ira",
    "cra",
    "share",
    "encoders_back",
)


def render_leaderboard(table: pd.DataFrame, family: str) -> str:
    """The page.

    Args:
        table: from :func:`razor_pipeline.studies.leaderboard.leaderboard`.
        family: of the models, for the title.
    """
    elsewhere, published = ELSEWHERE[_kind(table)]
    figures = [name for name in FIGURES if "figure" in table and (table["figure"] == name).any()]
    return template("leaderboard.html.j2").render(
        family=family,
        headings=[FIGURES[name] for name in figures],
        rows=[_row(part, figures) for _, part in table.groupby("method", sort=False)],
        scatter=themed(lambda theme: scatter(table, theme)) if figures else None,
        ranking=_ranking(table),
        elsewhere=elsewhere,
        published=published.astype(object).where(published.notna(), "not given").to_dict("records"),
        columns=list(published.columns),
    )


def _kind(table: pd.DataFrame) -> str:
    drawn = "figure" in table and (table["figure"] == "mean_ua_ira_cra").any()
    return "drawing" if drawn else "recognition"


def _ranking(table: pd.DataFrame) -> str:
    """What methods rank by."""
    measured = set(table["figure"]) if "figure" in table else set()
    figure = next((name for name in RANKED_BY if name in measured), None)
    return RANKING[figure] if figure else UNRANKED


def _figures(part: pd.DataFrame) -> dict[str, dict[Hashable, Any]]:
    """Figure -> its row, of one method."""
    return {str(row.get("figure")): row for row in part.to_dict("records")}


def _row(part: pd.DataFrame, figures: list[str]) -> dict[str, Any]:
    head, found = part.iloc[0], _figures(part)
    cells: list[dict[str, Any]] = []
    for name in figures:
        row = found.get(name)
        if row is None:
            cells.append({"value": "", "text": "", "interval": ""})
            continue
        text = partial(_text, name)
        interval = interval_text(row, text, within=SHARE if name.endswith((*SHARES, "auc")) else None)
        if 1 < row["n"] < head["cells"]:  # such as a gap where some targets have no gold standard
            interval += f", n = {int(row['n'])}"
        cells.append({"value": float(row["mean"]), "text": text(row["mean"]), "interval": interval})
    return {
        "method": head["method"],
        "rank": int(head["rank"]),
        "cells": cells,
        "count": int(head["cells"]),
        "failed": int(head["failed"]),
    }


def _text(name: str, value: float) -> str:
    if name.endswith(SHARES + DIFFERENCES):
        return f"{100 * value:.2f} %"
    return f"{value:.3f}" if name == "membership_auc" else f"{value:.1f}"


def scatter(table: pd.DataFrame, theme: Theme = LIGHT) -> bytes:
    """Forgetting against what others lost, means with 95 % intervals; then seconds and memory.

    Returns:
        A PNG.
    """
    bars = [name for name in ("seconds", "peak_rss_mb") if (table["figure"] == name).any()]
    figure = new_figure(6.2 + 3.2 * len(bars), 4.0, theme)
    grid = figure.subplots(1, 1 + len(bars), width_ratios=[1.9, *(1.0 for _ in bars)], squeeze=False)
    left, *others = grid[0]
    (x, x_label), (y, y_label) = AXES[_kind(table)]
    dress(left, theme, "Forgetting and keeping", x_label, y_label)
    _points(left, table, (x, y), theme)
    left.set_ylim(-3.0, 103.0)
    left.legend(
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        labelcolor=theme.ink,
        prop={"family": FONT},
    )
    for axes, name in zip(others, bars, strict=True):
        _bars(axes, table[table["figure"] == name], BARS[name], theme)
    return png(figure)


def _bars(axes: Axes, rows: pd.DataFrame, words: tuple[str, str, str], theme: Theme) -> None:
    title, unit, scale = words
    dress(axes, theme, title, unit, "")
    ordered = rows[::-1]  # the first one is drawn on top
    axes.barh(ordered["method"], ordered["mean"], color=theme.good, height=0.6)
    axes.set_xscale(scale)
    if scale == "log":
        axes.set_xlim(left=float(ordered["mean"].min()) / 3.0)
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter("{x:g}")
    for label in axes.get_yticklabels():
        label.set_fontfamily(FONT)


def _points(axes: Axes, table: pd.DataFrame, figures: tuple[str, str], theme: Theme) -> None:
    for place, (method, part) in enumerate(table.groupby("method", sort=False)):
        found = _figures(part)
        if not set(figures) <= set(found):
            continue
        pair = found[figures[0]], found[figures[1]]
        x, y = (100.0 * float(row["mean"]) for row in pair)
        x_error, y_error = (
            [[max(0.0, at - 100.0 * row["low"])], [max(0.0, 100.0 * row["high"] - at)]]
            if pd.notna(row["low"])  # none of one target, whatever its seeds
            else None
            for at, row in zip((x, y), pair, strict=True)
        )
        colour = theme.accent if method == "razor" else theme.good
        marker = MARKERS[place % len(MARKERS)]
        axes.errorbar(
            x, y, xerr=x_error, yerr=y_error, fmt=marker, color=colour, capsize=3, label=str(method)
        )
