"""A study's rows in short: mean, worst, interval and count of every figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from razor_pipeline.core.metrics import Floats, Ints, jackknife

HIGHER_IS_BETTER = (
    "retrieval_agreement",
    "relearn_steps",
    "retain_accuracy",
    "general_accuracy",
    "relearn_margin",
    "ua",
    "ua_worst",
    "ira",
    "cra",
    "mean_ua_ira_cra",
    "cra_with_target",
    "drawn_as_before",
    "clip_score",
    "ua_encoders_back",
    "says_unknown",
    "retain",
    "neutral",
    "forget_accuracy",
    "finetune_over_score_edit",
    "finetune_all_over_score_edit",
)
OF_ANOTHER_MODEL = ("int4_", "int8_", "nf4_", "base_", "retrained_")  # whose figure it is
TARGET = "target"
SHARE = (0.0, 1.0)  # what one can be
BEST_BETWEEN = {"auc": 0.5, "privacy_leakage": 0.0}  # either side is worse


def summarise(rows: pd.DataFrame, metrics: Collection[str]) -> dict[str, dict[str, Any]]:
    """``{metric: {mean, worst, low, high, n}}``.

    ``low`` and ``high`` bound the mean with 95 % confidence: Student's t over the rows or, where they say their
    ``target``, over the targets' means, for seeds of one target are no other targets. None where there is one alone,
    which has no spread to draw an interval from. ``worst`` is the largest value or, where more is better, the smallest,
    and where either side is worse the one farthest from the best. ``n`` counts rows. Rows in which a metric does not
    exist are left out of it.
    """
    table = {}
    for metric in metrics:
        values = rows[metric].dropna() if metric in rows else pd.Series(dtype=float)
        if len(values):
            table[metric] = _summary(metric, values.to_numpy(dtype=float), by_target(rows, metric))
    return table


def by_target(rows: pd.DataFrame, metric: str) -> Floats:
    """The mean of each target's values; the values themselves where the rows do not say their target.

    Args:
        rows: with a column or an index level ``target``, or without.
        metric: a column; rows in which it does not exist are left out.
    """
    known = rows.dropna(subset=[metric]).astype({metric: float})
    says = TARGET in known or TARGET in known.index.names
    return (known.groupby(TARGET)[metric].mean() if says else known[metric]).to_numpy()


def interval(statistic: Callable[[Ints], float], n: int) -> dict[str, float | None]:
    """``low`` and ``high`` of a statistic of ``n`` targets; None where there is one target alone."""
    if n < 2:
        return {"low": None, "high": None}
    found = jackknife(statistic, n, groups=n)
    return {"low": found.low, "high": found.high}


def interval_text(
    row: Mapping[Any, Any],
    text: Callable[[float], str],
    between: str = " to ",
    within: tuple[float, float] | None = None,
) -> str:
    """The interval of a summary in words, cut off where the figure cannot be (``within``)."""
    if row["low"] is None or math.isnan(row["low"]):
        return "no bound" if row.get("targets", 1) > 1 else "one target"
    low, high = np.clip((row["low"], row["high"]), *within) if within else (row["low"], row["high"])
    return f"{text(low)}{between}{text(high)}"


def _summary(metric: str, values: Floats, units: Floats) -> dict[str, Any]:
    centre = next((c for name, c in BEST_BETWEEN.items() if metric.endswith(name)), None)
    if centre is not None:
        worst = float(values[np.abs(values - centre).argmax()])
    else:
        plain = metric.split("_", 1)[-1] if metric.startswith(OF_ANOTHER_MODEL) else metric
        worst = float(values.min() if plain in HIGHER_IS_BETTER else values.max())
    bounds = interval(lambda index: float(units[index].mean()), len(units))
    return {"mean": float(units.mean()), "worst": worst, **bounds, "n": len(values)}


def as_text(title: str, table: dict[str, dict[str, Any]]) -> str:
    """The table for a terminal."""
    lines = [title, f"{'':34}{'mean':>9}{'worst':>9}{'95 % interval of the mean':>28}{'n':>5}"]
    for metric, row in table.items():
        figures = "".join(
            f"{'no bound' if row[k] is None else f'{row[k]:.4f}':>9}" for k in ("mean", "worst")
        )
        bounds = interval_text(row, lambda value: f"{value:.4f}", " .. ")
        lines.append(f"{metric:34}{figures}{bounds:>28}{row['n']:5d}")
    return "\n".join(lines)


SHOWN = (
    "edited_forget_accuracy",
    "membership_auc",
    "retain_drop",
    "near_twin_drop",
    "general_drop",
    "retrieval_agreement",
    "edited_fraction",
    "relearn_steps",
)


def side_by_side(title: str, tables: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Mean of the main figures, a line per variant."""
    lines = [title, f"{'':22}" + "".join(f"{name:>24}" for name in SHOWN) + f"{'n':>5}"]
    for variant, table in tables.items():
        means = [table[name]["mean"] if name in table else float("nan") for name in SHOWN]
        lines.append(f"{variant:22}" + "".join(f"{mean:24.4f}" for mean in means) + f"{_count(table):5d}")
    return "\n".join(lines)


STEPS = ("ua", "ua_worst", "ira_drop", "cra_drop", "edited_fraction")


def step_by_step(title: str, rows: pd.DataFrame) -> str:
    """A line per request of a sequence, each the mean over the seeds; the last line has the worst of each figure."""
    means = rows.groupby(["step", "target"], sort=True)[list(STEPS)].mean().reset_index()
    lines = [title, f"{'':24}" + "".join(f"{name:>17}" for name in STEPS) + f"{'n':>5}"]
    seeds = rows["seed"].nunique()
    for row in means.to_dict("records"):
        figures = "".join(f"{row[name]:17.4f}" for name in STEPS)
        lines.append(f"{row['step']:2d} {row['target']:21}{figures}{seeds:5d}")
    worst = [rows[name].min() if name in HIGHER_IS_BETTER else rows[name].max() for name in STEPS]
    return "\n".join(
        [*lines, f"{'worst':24}" + "".join(f"{value:17.4f}" for value in worst) + f"{len(rows):5d}"]
    )


def _count(table: Mapping[str, Mapping[str, float]]) -> int:
    return int(max(row["n"] for row in table.values()))
