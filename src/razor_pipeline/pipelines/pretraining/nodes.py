"""Train a base model from random weights."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd

from razor_pipeline.families.pretraining import known, pretraining_report, train, training_rows
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.pretraining import PretrainingParams


def train_model(
    manifest: pd.DataFrame, pretraining: PretrainingParams
) -> tuple[dict[str, Any], ModelFamily, pd.DataFrame]:
    """The report, which is saved first, the model, and its learning curve."""
    rows = training_rows(manifest, pretraining)
    start = time.perf_counter()
    family, curve = train(rows, pretraining)
    seconds = time.perf_counter() - start
    report = pretraining_report(family, known(manifest, pretraining), pretraining, len(rows), seconds)
    return report, family, pd.DataFrame(curve)
