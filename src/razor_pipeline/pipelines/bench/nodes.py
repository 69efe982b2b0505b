"""Measure what an edit costs."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline.params.data import SplittingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import BenchParams
from razor_pipeline.reporting.bench import cost_figure, render_bench
from razor_pipeline.studies.bench import Costs
from razor_pipeline.studies.scaling import as_lines, bench_table


def measure_cost(
    manifest: pd.DataFrame, splitting: SplittingParams, razor: RazorParams, bench: BenchParams
) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """A row per cell, the ratios in short, and the same with the costs at scale as text."""
    rows = Costs(manifest, splitting, razor, bench).rows()
    table = bench_table(rows)
    return rows, table, as_lines(rows, table)


def show_cost(rows: pd.DataFrame, table: dict[str, Any]) -> tuple[bytes, str]:
    """The figure, and the page."""
    return cost_figure(rows), render_bench(rows, table)
