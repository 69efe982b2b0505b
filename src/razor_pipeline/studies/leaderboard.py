"""Methods side by side: means, intervals and ranks over targets and seeds."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline.studies.tables import summarise

# What is compared, in this order, with its heading.
FIGURES = {
    "gap_to_retraining": "gap to retraining",
    "mean_ua_ira_cra": "mean of UA, IRA, CRA",
    "ua": "UA",
    "ira": "IRA",
    "cra": "CRA",
    "ira_drop": "IRA, drop",
    "cra_drop": "CRA, drop",
    "blank_share": "blank drawings",
    "ua_encoders_back": "UA, original text encoder put back",
    "edited_forget_accuracy": "target recognised",
    "edited_forget_accuracy_top5": "target among the top 5",
    "retain_drop": "others, drop",
    "worst_class_loss": "lost by any one class",
    "near_twin_drop": "near-twin, drop",
    "general_drop": "other domains, drop",
    "neutral_drop": "neutral questions, drop",
    "target_neutral_drop": "neutral questions about the target, drop",
    "degenerate_rise": "degenerate answers, rise",
    "membership_auc": "AUC",
    "privacy_leakage": "PrivLeak",
    "relearn_margin": "relearning, steps beyond retrained",
    "retrieval_agreement": "agreement with base",
    "int4_edited_forget_accuracy": "target, int4",
    "int4_retain_drop": "others, drop, int4",
    "edited_fraction": "weights edited",
    "seconds": "seconds",
    "peak_rss_mb": "peak memory, MB",
}
# What methods rank by, and which way is better: the first that any of them has.
RANKED_BY = {"gap_to_retraining": 1.0, "mean_ua_ira_cra": -1.0}


# What a cell knows of the model retrained without its target, under the names that an edit's figures have.
REFERENCE = {
    "retrained_forget_accuracy": "edited_forget_accuracy",
    "retrained_auc": "membership_auc",
    "retrained_target_neutral_drop": "target_neutral_drop",
    "retrained_ua": "ua",
    "retrained_ira": "ira",
    "retrained_cra": "cra",
}


def leaderboard(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per method and figure, methods in the order of their rank.

    Args:
        rows: a row per method (``variant``), target and seed; a cell that failed has its reason under ``failed``.

    Returns:
        ``method, rank, cells, failed, figure, mean, worst, low, high, n``. Methods rank from 1 on by the mean gap to
        retraining or, where there is nothing retrained, by the mean of UA, IRA and CRA. One with failed cells comes
        behind all that have none, whatever its mean is: it may be that of the easier targets. The rank is 0 where
        nothing ranks: of every method where no cell has either figure, and of ``retrain``, the reference, which comes
        first where there is one.
    """
    out: list[dict[str, Any]] = []
    tables = {}
    for method, part in rows.groupby("variant", sort=False):
        failed = int(part["failed"].notna().sum()) if "failed" in part else 0
        timed = (
            part.assign(seconds=part["score_seconds"] + part["edit_seconds"])
            if "edit_seconds" in part
            else part
        )
        tables[str(method)] = (summarise(timed, FIGURES), len(part), failed)
    figure = next((name for name in RANKED_BY if any(name in table for table, *_ in tables.values())), None)

    def place(method: str) -> tuple[bool, float]:
        table, _, failed = tables[method]
        found = table.get(figure or "")
        return failed > 0, RANKED_BY[str(figure)] * found["mean"] if found else float("inf")

    placed = [(place, method) for place, method in enumerate(sorted(tables, key=place), start=1)]
    ranked = [(rank if figure else 0, method) for rank, method in placed]
    if set(REFERENCE) & set(rows):
        reference = retrained(rows)
        tables["retrain"] = (summarise(reference, FIGURES), len(reference), 0)
        ranked.insert(0, (0, "retrain"))
    for rank, method in ranked:
        table, cells, failed = tables[method]
        head = {"method": method, "rank": rank, "cells": cells, "failed": failed}
        out += [{**head, "figure": name, **values} for name, values in table.items()] or [head]
    return pd.DataFrame(out)


def retrained(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per target and seed: the gold standard that every method of the cell was held against."""
    known = rows.dropna(subset=["gap_to_retraining"]).drop_duplicates(["target", "seed"])
    told = [name for name in REFERENCE if name in known]
    return known[told].rename(columns=REFERENCE).assign(gap_to_retraining=0.0)
