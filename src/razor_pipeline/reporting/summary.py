"""summary.json: flat, stable, one per run; what a batch job compares and a gate reads."""

from __future__ import annotations

from typing import Any

from razor_pipeline.reporting.record import MEGABYTE, RunRecord
from razor_pipeline.reporting.verdict import Verdict
from razor_pipeline.reporting.wording import METRICS


def flat_summary(run: RunRecord, verdict: Verdict) -> dict[str, Any]:
    """The run in one flat dictionary; a metric that the data cannot give is left out, never null."""
    report = run.edit_report
    total, edited = int(report["weights_total"]), int(report["weights_edited"])
    return {
        "family": str(run.manifest.get("family", "unknown")),
        "scenario": run.scenario,
        "target": run.target,
        "method": str(run.manifest.get("method", "unknown")),
        "seed": run.seed,
        "verdict": verdict.kind.value,
        "has_reference": run.has_reference,
        **_metrics(run),
        "components_edited": len(report["components"]),
        "components_total": int(report["components_total"]),
        "components_hardened": len(report["hardened"]),
        "edited_fraction": edited / total,
        "rounds": int(report["rounds"]),
        "stop_reason": str(report["stop_reason"]),
        "score_seconds": float(report["seconds"]["score"]),
        "edit_seconds": float(report["seconds"]["edit"]),
        "peak_rss_mb": float(report["peak_rss_mb"]),
        "delta_mb": run.delta_bytes / MEGABYTE,
        **_quantized(run),
    }


def _metrics(run: RunRecord) -> dict[str, float]:
    found: dict[str, float] = {}
    for model in ("base", "edited"):
        for metric in METRICS:
            estimate = run.estimate(model, metric)
            if estimate is not None:
                key = f"{model}_{metric}"
                found |= {
                    key: estimate["value"],
                    f"{key}_low": estimate["low"],
                    f"{key}_high": estimate["high"],
                }
    return found


def _quantized(run: RunRecord) -> dict[str, float]:
    found: dict[str, float] = {}
    for scheme in run.schemes:
        for state in ("base", "edited"):
            for metric in METRICS:
                value = run.value(f"{scheme}_{state}", metric)
                if value is not None:
                    found[f"quantized.{scheme}.{state}_{metric}"] = value
    for row in run.quantization.to_dict("records"):
        scheme, share = row["scheme"], row["changed_bin_share"]
        if share is not None and share == share:  # nf4 has no even bins to count
            found[f"quantized.{scheme}.changed_bin_share"] = float(share)
        found[f"quantized.{scheme}.mb"] = float(row["mb"])
    return found
