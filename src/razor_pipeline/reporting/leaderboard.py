"""leaderboard.html: methods side by side, sortable, with a forget-retain scatter; self-contained."""

from __future__ import annotations

import base64
from collections.abc import Hashable
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from razor_pipeline.reporting.drawing import FONT, LIGHT, Theme, dress, new_figure, png

HEADINGS = {
    "gap_to_retraining": "gap to retraining",
    "edited_forget_accuracy": "target recognised",
    "retain_drop": "others, drop",
    "near_twin_drop": "near-twin, drop",
    "general_drop": "other domains, drop",
    "membership_auc": "AUC",
    "privacy_leakage": "PrivLeak",
    "relearn_margin": "relearning, steps beyond retrained",
    "retrieval_agreement": "agreement with base",
    "int4_edited_forget_accuracy": "target, int4",
    "int4_retain_drop": "others, drop, int4",
    "edited_fraction": "weights edited",
    "seconds": "seconds",
}
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
SHARES = ("accuracy", "drop", "agreement", "fraction", "gap_to_retraining")


def render_leaderboard(table: pd.DataFrame, family: str) -> str:
    """The page.

    Args:
        table: from :func:`razor_pipeline.studies.leaderboard.leaderboard`.
        family: of the models, for the title.
    """
    pages = Environment(
        loader=PackageLoader("razor_pipeline", "reporting"),
        autoescape=select_autoescape(["j2", "html"]),
        undefined=StrictUndefined,
    )
    figures = [name for name in HEADINGS if "figure" in table and (table["figure"] == name).any()]
    return pages.get_template("leaderboard.html.j2").render(
        family=family,
        headings=[HEADINGS[name] for name in figures],
        rows=[_row(part, figures) for _, part in table.groupby("rank", sort=True)],
        scatter=base64.b64encode(scatter(table)).decode() if figures else "",
        published=PUBLISHED.to_dict("records"),
        columns=list(PUBLISHED.columns),
    )


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
        low, high = _text(name, row["low"]), _text(name, row["high"])
        cells.append(
            {"value": float(row["mean"]), "text": _text(name, row["mean"]), "interval": f"{low} to {high}"}
        )
    return {
        "method": head["method"],
        "rank": int(head["rank"]),
        "cells": cells,
        "count": int(head["cells"]),
        "failed": int(head["failed"]),
    }


def _text(name: str, value: float) -> str:
    if any(name.endswith(kind) for kind in SHARES):
        return f"{100 * value:.2f} %"
    return f"{value:.3f}" if name == "membership_auc" else f"{value:.1f}"


def scatter(table: pd.DataFrame, theme: Theme = LIGHT) -> bytes:
    """Two charts: target recognised against others' drop, and seconds; means with 95 % intervals.

    Returns:
        A PNG.
    """
    figure = new_figure(9.4, 4.0, theme)
    left, right = figure.subplots(1, 2)
    dress(left, theme, "Forgetting and keeping", "others, drop (points)", "target recognised (%)")
    _points(left, table, theme)
    left.set_ylim(-3.0, 103.0)
    dress(right, theme, "Time of an edit", "seconds, logarithmic", "")
    times = table[table["figure"] == "seconds"].sort_values("rank", ascending=False)
    right.barh(times["method"], times["mean"], color=theme.good, height=0.6)
    right.set_xscale("log")
    right.set_xlim(left=float(times["mean"].min()) / 3.0)
    right.xaxis.set_major_formatter("{x:g}")
    right.xaxis.set_minor_formatter(NullFormatter())
    for label in right.get_yticklabels():
        label.set_fontfamily(FONT)
    return png(figure)


def _points(axes: Axes, table: pd.DataFrame, theme: Theme) -> None:
    for method, part in table.groupby("method", sort=False):
        found = _figures(part)
        if not {"retain_drop", "edited_forget_accuracy"} <= set(found):
            continue
        pair = found["retain_drop"], found["edited_forget_accuracy"]
        x, y = (100.0 * float(row["mean"]) for row in pair)
        errors = [
            [[max(0.0, at - 100.0 * row["low"])], [max(0.0, 100.0 * row["high"] - at)]]
            for at, row in zip((x, y), pair, strict=True)
        ]
        colour = theme.accent if method == "razor" else theme.good
        axes.errorbar(x, y, xerr=errors[0], yerr=errors[1], fmt="o", color=colour, capsize=3)
        axes.annotate(
            str(method),
            (x, y),
            xytext=(6, 6),
            textcoords="offset points",
            color=theme.ink,
            fontfamily=FONT,
            fontsize=9,
        )
