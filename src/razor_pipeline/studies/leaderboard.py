"""Methods side by side: means, intervals and ranks over targets and seeds."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline.studies.tables import summarise

FIGURES = (
    "gap_to_retraining",
    "edited_forget_accuracy",
    "retain_drop",
    "near_twin_drop",
    "general_drop",
    "membership_auc",
    "privacy_leakage",
    "relearn_margin",
    "retrieval_agreement",
    "int4_edited_forget_accuracy",
    "int4_retain_drop",
    "edited_fraction",
    "seconds",
)


def leaderboard(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per method and figure, methods in the order of their rank.

    Args:
        rows: a row per method (``variant``), target and seed; a cell that failed has its reason under ``failed``.

    Returns:
        ``method, rank, cells, failed, figure, mean, worst, low, high, n``. Methods rank by the mean gap to retraining;
        a method without one, since all its cells failed, comes last.
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
    ranked = sorted(
        tables, key=lambda name: tables[name][0].get("gap_to_retraining", {}).get("mean", float("inf"))
    )
    for rank, method in enumerate(ranked, start=1):
        table, cells, failed = tables[method]
        head = {"method": method, "rank": rank, "cells": cells, "failed": failed}
        out += [{**head, "figure": name, **values} for name, values in table.items()] or [head]
    return pd.DataFrame(out)
