"""Pages of studies: tables and figures from real code, numbers made up."""

from __future__ import annotations

from functools import cache

import pandas as pd

from razor_pipeline.params.studies import BenchParams
from razor_pipeline.reporting.bench import render_bench
from razor_pipeline.reporting.leaderboard import render_leaderboard
from razor_pipeline.reporting.robustness import render_robustness
from razor_pipeline.studies.attack_summary import MODELS, attack_summary, headlines, long_table
from razor_pipeline.studies.bench import ratios
from razor_pipeline.studies.leaderboard import leaderboard
from razor_pipeline.studies.scaling import bench_table

OVER_STEPS = ("relearn_1", "relearn_4", "relearn_16", "tune_edited", "benign", "scaled_back")


@cache
def study_pages() -> dict[str, str]:
    """Name -> page."""
    costs = bench_rows()
    board = leaderboard(benchmark_rows()).replace({"method": {"ft": "ft, one epoch"}})
    found = long_table(attacked())
    return {
        "leaderboard": render_leaderboard(board, "clip"),
        "robustness": render_robustness(found, attack_summary(headlines(found))),
        "bench": render_bench(costs, bench_table(costs), BenchParams()),
    }


def benchmark_rows() -> pd.DataFrame:
    """Three methods, three targets."""
    found = [
        {
            "variant": variant,
            "target": f"t{i}",
            "gap_to_retraining": gap + 0.01 * i,
            "edited_forget_accuracy": gap / 3 + 0.01 * i,
            "retain_drop": gap / 2 + 0.01 * i,
            "membership_auc": 0.4,
            "score_seconds": 1.0,
            "edit_seconds": 10.0 * gap,
            "peak_rss_mb": 800.0,
            "failed": None,
        }
        for variant, gap in (("ft", 0.5), ("razor", 0.1), ("slug", 0.2))
        for i in range(3)
    ]
    return pd.DataFrame(found)


def attacked() -> pd.DataFrame:
    """Every model under attacks of every kind, two targets."""
    findings = []
    for place, model in enumerate(MODELS):
        curve = {"model": model, "variant": ""}
        for attack in OVER_STEPS:
            steps = (0.0, 0.25, 0.5, 0.75) if attack == "scaled_back" else range(4)
            findings += [
                {**curve, "attack": attack, "step": step, "value": min(1.0, 0.15 * place + 0.2 * i)}
                for i, step in enumerate(steps)
            ]
        once = {"none": 0.1 * place, "membership": 0.5 + 0.1 * place, "probe": 0.2, "paraphrase": 0.3}
        findings += [
            {"model": model, "attack": a, "variant": "plain", "step": 0, "value": v} for a, v in once.items()
        ]
    targets = (("Ada", 52), ("Bob", 55))
    return pd.DataFrame(
        [{"target": name, "seed": 0, "images": images, "findings": findings} for name, images in targets]
    )


def bench_rows() -> pd.DataFrame:
    """Two sizes, and one of them along every axis."""
    edit = {"seconds": 30.0, "score_seconds": 12.0, "edit_seconds": 18.0}
    bare = {"seconds": 10.0, "first_validation_seconds": 3.0, "validation_seconds": 2.0}
    found = {
        "edit": edit | {"evaluations": 5, "searched": 3, "repairs": 1, "peak_bytes": 2e9},
        "bare": bare
        | {"samples": 5, "validated": 4, "weights": 1e8, "candidate_weights": 5e7}
        | {"activation_bytes": 4e8, "batch": 4},
        "finetune": {"step_seconds": 8.0, "batch": 4},
    }
    row = {"target": "t", "family": "clip", "score_edit_in_samples": 15.0, **ratios(found, 10, 50)}
    sizes = [row | {"size": size, "axis": "size", "value": 0} for size in ("clip_few", "clip_b32")]
    grown = [
        row | {"size": "clip_few", "axis": axis, "value": value}
        for axis in ("retain", "forget", "components", "targets")
        for value in (4, 8)
    ]
    return pd.DataFrame(sizes + grown)
