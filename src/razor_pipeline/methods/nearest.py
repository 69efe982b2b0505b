"""The retained classes that an edit is most likely to hurt: those whose samples the model ties most to the target.

Shapes: N samples, T targets.
"""

from __future__ import annotations

import pandas as pd
from torch import Tensor

from razor_pipeline.interfaces import ModelFamily, UnlearningTask
from razor_pipeline.methods.validation import scores_of_rows


def ties_to_targets(model: ModelFamily, task: UnlearningTask) -> Tensor:
    """[N, T] how strongly the model at its current weights ties the retained validation rows to each target."""
    targets = {forget.target: task.prompts[forget.target] for forget in task.forget}
    return scores_of_rows(model, task.retain_validation, targets)


def nearest_rows(task: UnlearningTask, ties_NT: Tensor, count: int) -> pd.DataFrame:
    """Retain rows of the classes nearest to each target.

    Args:
        task: targets and data.
        ties_NT: of the retained validation rows to each target.
        count: classes per target; 0 for none.
    """
    by_label = pd.DataFrame(ties_NT.numpy()).groupby(task.retain_validation["label"].to_numpy()).mean()
    nearest = {label for target in by_label for label in by_label[target].nlargest(count).index}
    domain = task.retain_validation["domain"].iloc[0]
    rows: pd.DataFrame = task.retain[(task.retain["domain"] == domain) & task.retain["label"].isin(nearest)]
    return rows
