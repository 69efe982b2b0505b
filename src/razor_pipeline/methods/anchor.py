"""The anchor of a forgotten concept: what prompts that name it are to mean instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import pandas as pd
import torch

from razor_pipeline.interfaces import DrawingFamily, ForgetSet, ModelFamily, UnlearningTask
from razor_pipeline.methods.validation import scores_of_rows

CANDIDATES = 4  # of the nearest concepts whose drawings are looked at


class AnchorError(ValueError):
    """The anchor cannot take the target's place."""


def chosen_anchors(model: ModelFamily, task: UnlearningTask, anchor: str | None) -> dict[str, str]:
    """Target -> label of its anchor concept; empty where the family needs none.

    The default is the retained concept that the model holds nearest to the target, of those whose drawings are never
    taken for the target: prompts that were led to another would show the target still. Where nobody can look at
    drawings the nearest is taken.

    Args:
        model: at its base weights.
        task: targets and data.
        anchor: label of the anchor concept of all targets; None for the default.

    Raises:
        AnchorError: the anchor is not a retained class of the targets' domain, or the family needs none.
    """
    if model.yardstick != "anchor":
        if anchor is not None:
            raise AnchorError(
                f"anchor '{anchor}' is given, and nothing takes the target's place in a model of the family "
                f"'{model.name}'; leave razor.anchor out"
            )
        return {}
    targets = {forget.target for forget in task.forget}
    kept = [label for label in task.prompts if label not in targets]
    if anchor is not None and anchor not in kept:
        raise AnchorError(
            f"anchor '{anchor}' is none of the concepts that are kept; choose one of {', '.join(kept)}, or null "
            "for the nearest"
        )
    return {
        forget.target: anchor or _default(forget.target, _by_nearness(model, task, forget, kept), task)
        for forget in task.forget
    }


def with_anchors(model: ModelFamily, task: UnlearningTask, anchors: Mapping[str, str]) -> UnlearningTask:
    """The task with an ``anchor`` column on all forget rows, where the family needs one.

    A row's anchor is the prompt of the same style (or object, where styles are forgotten) with the anchor concept.

    Args:
        model: says whether it needs one.
        task: targets and data.
        anchors: target -> label of its anchor concept.

    Raises:
        AnchorError: the anchor has no prompt of a style that the target has, or one that the model reads no otherwise.
    """
    if model.yardstick != "anchor":
        return task
    led = tuple(_anchored(task, forget, anchors[forget.target]) for forget in task.forget)
    for forget in led:
        _check_told_apart(cast(DrawingFamily, model), forget)
    return replace(task, forget=led)


def _check_told_apart(model: DrawingFamily, forget: ForgetSet) -> None:
    """Raise where a prompt and its anchor are one to the text encoder, which reads so many tokens and no more."""
    for prompt, anchor in dict.fromkeys(zip(forget.edit["prompt"], forget.edit["anchor"], strict=True)):
        told, goal = model.frozen_conditioning([prompt, anchor])
        if torch.equal(told, goal):
            raise AnchorError(
                f"'{prompt}' and '{anchor}', which is to take its place, are one to the text encoder, which reads the "
                "first tokens of a prompt alone; shorten the prompts, or choose another concept as razor.anchor"
            )


def _by_nearness(model: ModelFamily, task: UnlearningTask, forget: ForgetSet, kept: list[str]) -> list[str]:
    """The kept concepts that have a prompt of each of the target's styles, the nearest first; all where none has."""
    able = [label for label in kept if not _missing(task, forget.target, label)] or kept
    prompts = {label: task.prompts[label] for label in able}
    mean_C = scores_of_rows(model, forget.validation, prompts).mean(dim=0)
    return [able[place] for place in mean_C.argsort(descending=True).tolist()]


def _default(target: str, nearest: Sequence[str], task: UnlearningTask) -> str:
    """The first that is never taken for the target or, where there is none, that is so least."""
    if task.see is None:
        return nearest[0]
    mistaken: dict[str, float] = {}
    for candidate in nearest[:CANDIDATES]:
        seen = [label for label, _ in task.see(task.prompts[candidate])]
        mistaken[candidate] = seen.count(target) / len(seen)
        if not mistaken[candidate]:
            break
    return min(mistaken, key=lambda candidate: mistaken[candidate])


def _anchored(task: UnlearningTask, forget: ForgetSet, anchor: str) -> ForgetSet:
    if missing := _missing(task, forget.target, anchor):
        raise AnchorError(
            f"anchor '{anchor}' has no prompt with '{missing[0]}', in which it is to take the place of "
            f"'{forget.target}'; choose another concept as razor.anchor, or add images of both together"
        )
    own = {style: prompt for (label, style), prompt in task.cells.items() if label == anchor}
    only = next(iter(own.values()))

    def add(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(anchor=[own.get(style, only) for style in rows["style"]])

    return replace(forget, edit=add(forget.edit), validation=add(forget.validation))


def _missing(task: UnlearningTask, target: str, anchor: str) -> list[str]:
    """Styles of the target that the anchor has no prompt of; where both have a single one, it is not asked for.

    Such labels say all that there is to say, as "cat in Mosaic" does where combinations are forgotten.
    """
    wanted, known = ({style for label, style in task.cells if label == one} for one in (target, anchor))
    return [] if len(wanted) == len(known) == 1 else sorted(wanted - known)
