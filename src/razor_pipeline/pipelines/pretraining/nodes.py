"""Train a base model from random weights."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd

from razor_pipeline.families import ClipFamily
from razor_pipeline.families.clip_pretraining import train_clip
from razor_pipeline.families.clip_zero_shot import known, pretraining_report, training_rows
from razor_pipeline.params import ClipPretrainingParams


def train_model(
    manifest: pd.DataFrame, pretraining: ClipPretrainingParams
) -> tuple[ClipFamily, dict[str, Any], pd.DataFrame]:
    """The model, its report and its learning curve."""
    rows = training_rows(manifest, pretraining)
    start = time.perf_counter()
    family, curve = train_clip(rows, pretraining)
    seconds = time.perf_counter() - start
    report = pretraining_report(family, known(manifest, pretraining), pretraining, len(rows), seconds)
    return family, report, pd.DataFrame(curve)
