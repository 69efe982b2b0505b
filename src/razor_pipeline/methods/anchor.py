"""The anchor of a forgotten concept: what prompts that name it are to mean instead."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from razor_pipeline.interfaces import ForgetSet, ModelFamily, UnlearningTask, class_scores

BATCH = 256


class AnchorError(ValueError):
    """The anchor asked for cannot take the target's place."""


def with_anchors(model: ModelFamily, task: UnlearningTask, anchor: str | None) -> UnlearningTask:
    """The task with an ``anchor`` column on all forget rows, where the family needs one.

    A row's anchor is the prompt of the same style (or object, where styles are forgotten) with the anchor concept.

    Args:
        model: at its base weights.
        task: targets and data.
        anchor: label of the anchor concept; None for the retained one that the model holds nearest to the target.

    Raises:
        AnchorError: the anchor is not a retained class of the targets' domain.
    """
    if model.yardstick != "anchor":
        return task
    targets = {forget.target for forget in task.forget}
    kept = [label for label in task.prompts if label not in targets]
    if anchor is not None and anchor not in kept:
        raise AnchorError(
            f"anchor '{anchor}' is none of the concepts that are kept; choose one of {', '.join(kept)}, or null "
            "for the nearest"
        )
    return replace(
        task,
        forget=tuple(
            _anchored(task, forget, anchor or _nearest(model, task, forget, kept)) for forget in task.forget
        ),
    )


def _nearest(model: ModelFamily, task: UnlearningTask, forget: ForgetSet, kept: list[str]) -> str:
    prompts = {label: task.prompts[label] for label in kept}
    mean_C = class_scores(model, model.batches(forget.validation, BATCH), prompts).mean(dim=0)
    return kept[int(mean_C.argmax())]


def _anchored(task: UnlearningTask, forget: ForgetSet, anchor: str) -> ForgetSet:
    own = task.retain[task.retain["label"] == anchor].drop_duplicates("style").set_index("style")["prompt"]

    def add(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(anchor=rows["style"].map(own).fillna(task.prompts[anchor][0]))

    return replace(forget, edit=add(forget.edit), validation=add(forget.validation))
