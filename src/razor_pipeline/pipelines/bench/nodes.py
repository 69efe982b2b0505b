"""Measure what an edit costs."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline.params.data import SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import BenchParams
from razor_pipeline.reporting.bench import cost_figure, render_bench
from razor_pipeline.studies.bench import Costs
from razor_pipeline.studies.scaling import as_lines, bench_table


def measure_cost(
    manifest: pd.DataFrame,
    judges: dict[str, Any],
    splitting: SplittingParams,
    razor: RazorParams,
    evaluation: EvaluationParams,
    bench: BenchParams,
) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """A row per cell, the ratios in short, and the same with the costs at scale as text."""
    places = {name: judge.origin["id"] for name, judge in judges.items()}  # each process opens its own
    rows = Costs(manifest, splitting, razor, bench, evaluation, places).rows()
    table = bench_table(rows)
    return rows, table, as_lines(rows, table, bench.assumed)


def show_cost(rows: pd.DataFrame, table: dict[str, Any], bench: BenchParams) -> tuple[bytes, str]:
    """The figure, and the page."""
    return cost_figure(rows), render_bench(rows, table, bench)
