"""bench.html: what an edit costs, as ratios, and how the cost grows; self-contained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from razor_pipeline.params.studies import BenchParams
from razor_pipeline.reporting.figures import LIGHT, Theme, dress, new_figure, png, themed
from razor_pipeline.reporting.templates import template
from razor_pipeline.studies.scaling import GIB, RATIOS, assumptions, at_scale

HEADINGS = {
    "score_edit_over_limit": "over the bare limit",
    "score_edit_over_pass": "over one bare pass",
    "score_over_pass": "score alone over that pass",
    "edit_over_pass": "edit alone over that pass",
    "score_edit_over_slug": "over SLUG's search",
    "search_share": "share of the search",
    "finetune_over_score_edit": "fine-tune, same samples, over it",
    "finetune_all_over_score_edit": "fine-tune, all samples, over it",
    "evaluate_over_pass": "one model's examination over that pass",
    "peak_memory_over_floor": "peak memory over the floor",
}
AXES = {
    "retain": "retain images",
    "forget": "forget images",
    "components": "components edited",
    "targets": "targets at once",
}
Table = Mapping[str, Mapping[str, float]]


def render_bench(rows: pd.DataFrame, table: Table, params: BenchParams) -> str:
    """The page.

    Args:
        rows: from :meth:`razor_pipeline.studies.bench.Costs.rows`.
        table: from :func:`razor_pipeline.studies.scaling.bench_table`.
        params: epochs of the fine-tune, and what seconds and prices at scale are calculated from.
    """
    measured = rows[rows["axis"] == "size"]
    return template("bench.html.j2").render(
        headings=[HEADINGS[name] for name in RATIOS],
        sizes=[_size(str(size), part, table) for size, part in measured.groupby("size", sort=False)],
        epochs=params.epochs,
        scale=at_scale(rows, params.assumed),
        assumptions=assumptions(params.assumed),
        figure=themed(lambda theme: cost_figure(rows, theme)),
    )


def _size(size: str, part: pd.DataFrame, table: Table) -> dict[str, Any]:
    first = part.iloc[0]
    return {
        "name": size,
        "cells": len(part),
        "about": f"{first['weights'] / 1e6:.1f} M weights, {int(first['samples'])} samples, "
        f"{int(first['validated'])} to validate, {int(first['evaluations'])} evaluations, "
        f"{int(first['repairs'])} corrective steps, peak {first['peak_bytes'] / GIB:.2f} GiB",
        "ratios": [
            f"{table[key]['mean']:.2f}" if (key := f"{name}_{size}") in table else "" for name in RATIOS
        ],
    }


def cost_figure(rows: pd.DataFrame, theme: Theme = LIGHT) -> bytes:
    """A panel of the ratios by size, and one per axis along which the cost was measured.

    Returns:
        A PNG.
    """
    shown = [axis for axis in AXES if (rows["axis"] == axis).any()]
    measured = rows[rows["axis"] == "size"]
    count = len(shown) + bool(len(measured))
    figure = new_figure(3.2 * max(count, 1), 3.2, theme)
    panels = iter(figure.subplots(1, max(count, 1), squeeze=False).flatten())
    if len(measured):
        _sizes(next(panels), measured, theme)
    for axis in shown:
        part = rows[rows["axis"] == axis].sort_values("value")
        axes = next(panels)
        dress(axes, theme, "", AXES[axis], "passes of one sample")
        axes.plot(part["value"].astype(float), part["score_edit_in_samples"], "o-", color=theme.good)
        axes.set_ylim(bottom=0.0)
    return png(figure)


def _sizes(axes: Axes, measured: pd.DataFrame, theme: Theme) -> None:
    dress(axes, theme, "", "score + edit over the bare limit", "")
    means = measured.groupby("size", sort=False)["score_edit_over_limit"].mean()[::-1]
    axes.barh([str(name) for name in means.index], means.to_numpy(dtype=float), color=theme.good, height=0.6)
    axes.set_ylim(-0.6, max(len(means), 4) - 0.4)  # a bar alone does not fill the panel
    axes.axvline(1.0, color=theme.muted, linewidth=1.0)
