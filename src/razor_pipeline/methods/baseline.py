"""Does the base model know what it is to forget?"""

from __future__ import annotations

import numpy as np

from razor_pipeline.core.metrics import share
from razor_pipeline.interfaces import ModelFamily, UnlearningTask
from razor_pipeline.methods.validation import scores_of_rows


class NoBaselineError(ValueError):
    """The base model does not know the target, so nothing can be forgotten or shown."""


def check_baseline(model: ModelFamily, task: UnlearningTask, allow: bool) -> dict[str, float]:
    """Accuracy of the base model on each target's validation images, which must be above chance.

    Empty where the model draws: it tells its own prompts apart whatever it draws of them, and whether it draws the
    target is what the examination of its drawings says.

    Raises:
        NoBaselineError: the 95 % interval of a target's accuracy reaches down to chance, unless ``allow``.
    """
    if model.yardstick == "anchor":
        return {}
    classes = list(task.prompts)
    found = {}
    for forget in task.forget:
        scores_NC = scores_of_rows(model, forget.validation, task.prompts)
        hits = share((scores_NC.argmax(dim=1) == classes.index(forget.target)).numpy().astype(np.bool_))
        found[forget.target] = hits.value
        chance = 1.0 / len(classes)
        if hits.low <= chance and not allow:
            what = (
                "so few that it may be luck; give validation more images by data.validation_share or data.split_counts"
                if hits.value > chance
                else "so there is nothing to forget; check target and model"
            )
            raise NoBaselineError(
                f"no baseline: the base model names '{forget.target}' on {hits.value:.0%} of {hits.n} validation "
                f"images by the prompt '{forget.prompt}', chance among {len(classes)} classes is {chance:.0%}, {what}, "
                "or set razor.allow_no_baseline=true"
            )
    return found
