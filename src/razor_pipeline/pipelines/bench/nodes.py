"""Measure what an edit costs."""

from __future__ import annotations

from typing import Any

import pandas as pd
from tqdm import tqdm

from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params import BenchParams, RazorParams, SplittingParams
from razor_pipeline.splitting import split_samples
from razor_pipeline.studies.bench import bench_row
from razor_pipeline.studies.tables import as_text, summarise


def measure_cost(
    base_model: ModelFamily,
    manifest: pd.DataFrame,
    splitting: SplittingParams,
    razor: RazorParams,
    bench: BenchParams,
) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """A row per target, the table, and the table as text."""
    rows = []
    for seed, target in enumerate(tqdm(bench.targets, desc="bench", disable=None)):
        samples = split_samples(manifest, [target], splitting, seed)
        rows.append({"target": target, "seed": seed} | bench_row(base_model, samples, razor, seed))
    frame = pd.DataFrame(rows)
    table = summarise(frame, [name for name in frame.columns if name not in ("target", "seed")])
    return frame, table, as_text("Cost of score + edit, CLIP", table)
