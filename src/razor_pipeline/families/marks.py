"""What the exams of several families share: pictures for the report, ties to names, leakage, rows of the metrics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from razor_pipeline.core import metrics
from razor_pipeline.core.metrics import Estimate
from razor_pipeline.interfaces import ModelFamily, class_scores


def panel_of(
    own: pd.DataFrame, targets: Collection[str], general: pd.DataFrame, count: int
) -> dict[str, str]:
    """sample_id -> group (target, near_twin, other, general) of the test pictures that a report shows.

    Args:
        own: test rows of the targets' domain.
        targets: labels that were to be forgotten; ``count`` pictures of each and of each near-twin are shown.
        general: rows of other domains; ``count`` of them are shown, as of other classes.
        count: of pictures.
    """
    target = own["label"].isin(targets)
    twin = own["label"].isin(set(own.loc[target, "near_twin"]) - {""}) & ~target
    chosen = {
        "target": own[target].groupby("label").head(count),
        "near_twin": own[twin].groupby("label").head(count),
        "other": spread(own[~target & ~twin].groupby("label").head(1), count),
        "general": spread(general, count),
    }
    return {str(sample): group for group, part in chosen.items() for sample in part["sample_id"]}


def with_lost(groups: Mapping[str, str], lost: Sequence[str]) -> dict[str, str]:
    """The groups, and what is lost of the class that loses most; a near-twin's stays in its own."""
    return {**groups, **{sample: "lost" for sample in lost if groups.get(sample) != "near_twin"}}


def spread(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most ``count`` of the rows, evenly spread."""
    return rows.iloc[:: max(1, len(rows) // count)].head(count)


def ties(
    family: ModelFamily, images: Mapping[str, Sequence[Any]], names: Mapping[str, Sequence[str]]
) -> dict[str, NDArray[np.float32]]:
    """Target -> how strongly a model ties each of the images given for it to its names."""
    return {
        target: class_scores(family, batches, {target: names[target]})[:, 0].numpy()
        for target, batches in images.items()
    }


def worst_membership(
    member: Mapping[str, NDArray[np.float32]],
    nonmember: Mapping[str, NDArray[np.float32]],
    retrained_auc: float,
) -> Estimate:
    """The AUC, of all targets', that is furthest from the one at which nothing leaks, in either direction."""
    found = [metrics.membership_auc(member[target], nonmember[target]) for target in member]
    return max(found, key=lambda estimate: abs(estimate.value - retrained_auc))


def leakage(
    member: Mapping[str, NDArray[np.float32]], held_out: Mapping[str, NDArray[np.float32]]
) -> Estimate:
    """PrivLeak, of all targets' the one furthest from 0; its interval is that of its AUC.

    Members are the images that were to be forgotten, non-members other images of the same class, as in MUSE: whoever
    looks alike is told apart by training alone. A model that was trained on neither has 0.5.
    """
    auc = worst_membership(member, held_out, 0.5)
    value, low, high = (metrics.privacy_leakage(x) for x in (auc.value, auc.low, auc.high))
    return Estimate(value, low, high, auc.n)


def metric_rows(model: str, marks: dict[str, Estimate]) -> list[dict[str, Any]]:
    """Rows of the metrics table."""
    return [{"model": model, "metric": name, **asdict(estimate)} for name, estimate in marks.items()]
