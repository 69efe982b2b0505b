"""Peer: SalUn where a model names what it sees (Fan et al., ICLR 2024, arXiv 2310.12508).

An epoch goes over the forget set under random other names and then over the retain set, and only within the saliency
mask; weights outside are frozen against momentum and weight decay too.

Deviations: the learning rate and the epoch are chosen on validation by the rule of all methods (the source chooses on
the test metric), and a training that diverges ends there; for a CLIP the names are the prompts of its classes, and a
renamed image is to be told by cross-entropy over all of them, the forgotten one included, as a classifier's is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core.gradients import mean_gradients
from razor_pipeline.core.saliency import saliency_mask
from razor_pipeline.interfaces import EditResult, ModelFamily, NamingFamily, UnlearningTask
from razor_pipeline.methods.candidates import Candidates, check_names
from razor_pipeline.methods.fitting import Loss, fit
from razor_pipeline.methods.pool import Pool
from razor_pipeline.methods.task import forget_rows
from razor_pipeline.params.peers import SalunParams


def salun(
    model: ModelFamily, task: UnlearningTask, params: SalunParams, generator: torch.Generator
) -> EditResult:
    """SalUn.

    Raises:
        ValueError: the model draws, or the trainings of all learning rates diverged in their first epoch.
    """
    check_names(model, "salun")
    found = Candidates(model, task, params, "salun")
    forget = forget_rows(task)
    gradients = mean_gradients(
        model.forget_loss, model.batches(forget, params.batch_size), found.parameters, "forget"
    )
    mask = saliency_mask(gradients.tensors, params.salient_share)
    others = _others(task)

    def renamed() -> pd.DataFrame:
        drawn = others.iloc[torch.randint(0, len(others), (len(forget),), generator=generator).numpy()]
        caption, label, style = (drawn[name].to_numpy() for name in ("prompt", "label", "style"))
        told = zip(forget["facts"], forget["label"], label, strict=True)
        return forget.assign(caption=caption, label=label, style=style, facts=[_facts(*one) for one in told])

    prompts = [*others["prompt"], *(one.prompt for one in task.forget)]
    naming = (
        partial(model.naming_loss, prompts=prompts) if isinstance(model, NamingFamily) else model.retain_loss
    )
    told = Pool(
        model, pd.concat([renamed() for _ in range(params.epochs)], ignore_index=True), params, fewest=1
    )
    kept = Pool(model, task.retain, params)

    def rows_of(number: int) -> Tensor:
        return number * len(forget) + torch.arange(len(forget))

    def epoch(number: int) -> Iterator[tuple[Loss, Any]]:
        yield from ((naming, batch) for batch in told.shuffled(generator, rows_of(number)))
        yield from ((model.retain_loss, batch) for batch in kept.shuffled(generator))

    return fit(found, params, epoch, told.steps(rows_of(0)) + kept.steps(), mask)


def _others(task: UnlearningTask) -> pd.DataFrame:
    """A row of every class that is kept, with the first of its prompts."""
    kept = pd.concat([task.retain_validation, task.retain])
    own = kept[kept["domain"].isin(set(task.retain_validation["domain"]))]
    return own.sort_values(["label", "prompt"]).drop_duplicates("label")


def _facts(facts: str, label: str, other: str) -> str:
    """An image's facts (JSON) under another label; beside it, they would be asked for its own and teach that."""
    known = json.loads(facts or "{}")
    return json.dumps({category: other if answer == label else answer for category, answer in known.items()})
