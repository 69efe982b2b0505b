"""The curve of a sequence of requests: what stays forgotten, and what is left of the rest."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import MaxNLocator, PercentFormatter

from razor_pipeline.reporting.figures import LIGHT, dress, new_figure, png

LINES = {"ua_worst": "worst of the forgotten (UA)", "ira": "same kind (IRA)", "cra": "other kind (CRA)"}


def sequence_curve(rows: pd.DataFrame) -> bytes:
    """Draw the figures against the number of requests, mean over seeds.

    Args:
        rows: ``step, target, ua_worst, ira, cra``, a row per request and seed.

    Returns:
        A PNG.
    """
    figure = new_figure(6.4, 3.9, LIGHT)
    axes = figure.subplots()
    dress(axes, LIGHT, "Requests one after the other", "requests so far", "share of drawings")
    mean = rows.groupby("step")[list(LINES)].mean()
    for name, colour in zip(LINES, (LIGHT.accent, LIGHT.good, LIGHT.muted), strict=True):
        axes.plot(mean.index, mean[name], "o-", color=colour, label=LINES[name], markersize=5)
    axes.set_ylim(min(0.9, float(mean.to_numpy().min()) - 0.02), 1.005)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, labelcolor=LIGHT.ink, fontsize=9, loc="lower left")
    return png(figure)
