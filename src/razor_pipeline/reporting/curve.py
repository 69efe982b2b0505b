"""The step search: what is left to forget against the step, and against what is retained."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from razor_pipeline.params.razor import RazorParams
from razor_pipeline.reporting.figures import FONT, LIGHT, Theme, dress, new_figure, png, say

HARDENING = ("unhardened", "harden", "taken_back")  # on a scale of its own: read from predictions


def search_curve(
    trace: pd.DataFrame, razor: RazorParams, theme: Theme = LIGHT, narrow: bool = False
) -> bytes:
    """Draw the step search and the corrective steps, all on the validation split.

    Args:
        trace: round, stage (base, search, zero_step, repair; hardening's are left out), step_size, knowledge_auc,
            forget_accuracy, retain_accuracy; ``kept`` marks the state that became the edit, where the method says so.
        razor: goal of the search and tolerance around it.
        theme: colours.
        narrow: the two charts below each other, for a phone.

    Returns:
        A PNG.
    """
    trace = trace[~trace["stage"].isin(HARDENING)]
    figure = new_figure(4.2 if narrow else 9.0, 6.6 if narrow else 3.9, theme)
    left, right = figure.subplots(*((2, 1) if narrow else (1, 2)))
    _against_step(left, trace, razor, theme)
    _against_retention(right, trace, razor, theme)
    return png(figure)


def chosen_step(trace: pd.DataFrame, measure: str, goal: float) -> float | None:
    """The step of the first round: the smallest tried one that met the goal, else the largest."""
    tried = trace[(trace["stage"] == "search") & (trace["round"] == trace["round"].min())]
    if tried.empty:
        return None
    met = tried[tried[measure] <= goal]
    return float(tried["step_size"].max() if met.empty else met["step_size"].min())


def _against_step(axes: Axes, trace: pd.DataFrame, razor: RazorParams, theme: Theme) -> None:
    goal, measure = razor.search.goal, razor.search.measure
    label = "knowledge AUC" if measure == "knowledge_auc" else "target accuracy"
    dress(axes, theme, "Step search", "step size, share of each weight norm", f"{label}, validation")
    tried = trace[trace["stage"] == "search"]
    if tried.empty:
        say(axes, "this method searched no step", theme)
        return
    for index, (_, part) in enumerate(tried.groupby("round")):
        ordered = part.sort_values("step_size")
        style: dict[str, Any] = {
            "color": theme.good,
            "alpha": 1.0 if index == 0 else 0.45,
            "linewidth": 1.8,
            "zorder": 3,
        }
        axes.plot(ordered["step_size"], ordered[measure], "o-", markersize=5.5, **style)
    _goal(axes, goal, razor, theme, horizontal=True)
    step = chosen_step(trace, measure, goal)
    row = tried[tried["step_size"] == step].iloc[0]
    late = float(row["step_size"]) > float(tried["step_size"].min())
    axes.plot(
        row["step_size"],
        row[measure],
        "D",
        color=theme.accent,
        markersize=9,
        zorder=5,
        markeredgecolor=theme.paper,
    )
    _label(axes, (row["step_size"], row[measure]), f"chosen: {step:.3g}", theme, (-9, -9) if late else (9, 9))
    axes.set_xscale("log")
    axes.set_xticks(sorted({float(tried["step_size"].min()), float(tried["step_size"].max())}))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axes.xaxis.set_minor_formatter(lambda _value, _: "")
    axes.tick_params(which="minor", length=0)
    axes.set_ylim(-0.04, 1.08)
    axes.grid(axis="y", color=theme.line, linewidth=0.8)


def _against_retention(axes: Axes, trace: pd.DataFrame, razor: RazorParams, theme: Theme) -> None:
    dress(
        axes,
        theme,
        "Forget against retain",
        "knowledge AUC (left: forgotten)",
        "others recognised, validation",
    )
    base, search = trace[trace["stage"] == "base"], trace[trace["stage"] == "search"]
    path = trace[trace["stage"].isin(["zero_step", "repair"])]
    # A line for each round: the next one begins at the best state, not where the last one ended.
    for _, part in path.groupby("round"):
        axes.plot(
            part["knowledge_auc"], part["retain_accuracy"], "-", color=theme.good, linewidth=1.6, zorder=3
        )
    points: tuple[tuple[str, pd.DataFrame, dict[str, Any]], ...] = (
        ("tried", search, {"s": 30, "color": theme.muted, "alpha": 0.7}),
        ("corrective", path[path["stage"] == "repair"], {"s": 34, "color": theme.good, "zorder": 4}),
        (
            "zero-step",
            path[path["stage"] == "zero_step"],
            {"s": 70, "marker": "D", "color": theme.accent, "zorder": 5},
        ),
        ("base", base, {"s": 70, "marker": "s", "color": theme.ink, "zorder": 4}),
    )
    for name, rows, look in points:
        if len(rows):  # nothing stands in the legend that is not there
            axes.scatter(rows["knowledge_auc"], rows["retain_accuracy"], label=name, **look)
    if "kept" in trace:
        kept = trace[trace["kept"].astype(bool)]
        style: dict[str, Any] = {"facecolors": "none", "edgecolors": theme.ink, "linewidths": 1.6}
        axes.scatter(kept["knowledge_auc"], kept["retain_accuracy"], s=190, zorder=6, label="kept", **style)
    _goal(axes, razor.search.goal, razor, theme, horizontal=False)
    axes.set_xlim(-0.04, 1.08)
    low = float(trace["retain_accuracy"].min()) if len(trace) else 0.0
    high = float(trace["retain_accuracy"].max()) if len(trace) else 1.0
    room = max(0.004, 0.12 * (high - low))
    axes.set_ylim(low - room, high + room)
    digits = 1 if high - low < 0.04 else 0
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.{digits}f}%" if share < 1.0001 else "")
    axes.grid(color=theme.line, linewidth=0.8)
    if len(trace):
        _legend(axes, theme)


def _goal(axes: Axes, goal: float, razor: RazorParams, theme: Theme, horizontal: bool) -> None:
    line, band = (axes.axhline, axes.axhspan) if horizontal else (axes.axvline, axes.axvspan)
    if razor.search.measure == "forget_accuracy" and not horizontal:
        return
    if razor.search.measure == "knowledge_auc" and razor.auc_tolerance is not None:
        band(
            razor.auc_goal - razor.auc_tolerance,
            razor.auc_goal + razor.auc_tolerance,
            color=theme.accent,
            alpha=0.10,
            linewidth=0,
        )
    line(goal, color=theme.accent, linewidth=1.4, linestyle=(0, (4, 3)), zorder=2)
    if horizontal:
        text: dict[str, Any] = {"color": theme.accent, "fontsize": 8.5, "fontfamily": FONT}
        axes.text(0.015, goal + 0.015, f"goal {goal:g}", transform=axes.get_yaxis_transform(), **text)


def _label(axes: Axes, at: tuple[float, float], text: str, theme: Theme, offset: tuple[float, float]) -> None:
    """Beside the point, on the side that a falling curve leaves free."""
    side, edge = ("left", "bottom") if offset[0] > 0 else ("right", "top")
    style: dict[str, Any] = {
        "color": theme.ink,
        "fontsize": 9.5,
        "fontweight": "bold",
        "fontfamily": FONT,
        "zorder": 6,
    }
    axes.annotate(text, at, xytext=offset, textcoords="offset points", ha=side, va=edge, **style)


def _legend(axes: Axes, theme: Theme) -> None:
    legend = axes.legend(
        fontsize=8.5, loc="best", facecolor=theme.paper, edgecolor=theme.line, labelcolor=theme.ink
    )
    legend.set_zorder(8)
