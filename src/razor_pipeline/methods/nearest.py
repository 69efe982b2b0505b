"""The retained classes that an edit is most likely to hurt: those whose samples the model ties most to the target."""

from __future__ import annotations

import pandas as pd

from razor_pipeline.interfaces import ModelFamily, UnlearningTask, class_scores

BATCH = 256


def nearest_rows(model: ModelFamily, task: UnlearningTask, count: int) -> pd.DataFrame:
    """Retain rows of the classes nearest to each target.

    Args:
        model: at its current weights.
        task: targets and data; nearness is measured on the validation split.
        count: classes per target; 0 for none.
    """
    targets = {forget.target: task.prompts[forget.target] for forget in task.forget}
    scores_NT = class_scores(model, model.batches(task.retain_validation, BATCH), targets)
    ties = pd.DataFrame(scores_NT.numpy(), columns=list(targets))
    by_label = ties.groupby(task.retain_validation["label"].to_numpy()).mean()
    nearest = {label for target in targets for label in by_label[target].nlargest(count).index}
    domain = task.retain_validation["domain"].iloc[0]
    rows: pd.DataFrame = task.retain[(task.retain["domain"] == domain) & task.retain["label"].isin(nearest)]
    return rows
