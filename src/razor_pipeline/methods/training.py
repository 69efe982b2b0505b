"""Peers that train: FT, GA, GAFT, and SalUn (Fan et al., ICLR 2024, arXiv 2310.12508).

FT descends the retain loss, GA ascends the forget loss, GAFT does both in turn, epoch by epoch, all over all weights.
SalUn trains on the retain set and on the forget set under random other names, and only within the saliency mask; its
weights outside are frozen against momentum and weight decay too.

Deviations: the learning rate and the epoch are chosen on validation by the rule of all methods (the sources choose on
the test metric), and a training that diverges ends there; for a CLIP "other names" are the prompts of other classes, as
SalUn's random labels have no counterpart there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core.gradients import mean_gradients
from razor_pipeline.core.saliency import saliency_mask
from razor_pipeline.interfaces import EditResult, ModelFamily, UnlearningTask
from razor_pipeline.methods.candidates import Candidates, check_names
from razor_pipeline.methods.fitting import Loss, fit
from razor_pipeline.methods.task import forget_rows
from razor_pipeline.params.peers import FinetuneParams, SalunParams, TrainingParams

CONTRAST = 2  # rows that a contrastive loss needs


def finetune(
    model: ModelFamily, task: UnlearningTask, params: FinetuneParams, generator: torch.Generator
) -> EditResult:
    """FT, GA or GAFT, as ``params.objective`` says.

    Raises:
        ValueError: the model draws, or the trainings of all learning rates diverged in their first epoch.
    """
    check_names(model, params.objective)
    found = Candidates(model, task, params, params.objective)

    def ascent(batch: Any) -> Tensor:
        return -model.forget_loss(batch)

    sources: list[tuple[Loss, _Pool]] = []
    if params.objective != "ft":
        sources.append((ascent, _Pool(model, forget_rows(task), params, fewest=1)))
    if params.objective != "ga":
        sources.append((model.retain_loss, _Pool(model, task.retain, params)))

    def epoch(_: int) -> Iterator[tuple[Loss, Any]]:
        return ((loss, batch) for loss, pool in sources for batch in pool.shuffled(generator))

    return fit(found, params, epoch, sum(pool.steps for _, pool in sources))


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

    rows = pd.concat([task.retain, *(renamed() for _ in range(params.epochs))], ignore_index=True)
    pool, kept = _Pool(model, rows, params), torch.arange(len(task.retain))

    def epoch(number: int) -> Iterator[tuple[Loss, Any]]:
        own = len(kept) + number * len(forget) + torch.arange(len(forget))
        for batch in pool.shuffled(generator, torch.cat([kept, own])):
            yield model.retain_loss, batch

    steps = _steps(len(kept) + len(forget), params.batch_size)
    return fit(found, params, epoch, steps, mask)


def _others(task: UnlearningTask) -> pd.DataFrame:
    """A row of every class that is kept, with the first of its prompts.

    An image that takes the prompt takes label and style with it: to a contrastive loss it is then of one group with the
    class's own images of that prompt, and not their negative.
    """
    kept = pd.concat([task.retain_validation, task.retain])
    own = kept[kept["domain"].isin(set(task.retain_validation["domain"]))]
    return own.sort_values(["label", "prompt"]).drop_duplicates("label")


def _facts(facts: str, label: str, other: str) -> str:
    """An image's facts (JSON) under another label; beside it, they would be asked for its own and teach that."""
    known = json.loads(facts or "{}")
    return json.dumps({category: other if answer == label else answer for category, answer in known.items()})


def _steps(samples: int, batch_size: int, fewest: int = CONTRAST) -> int:
    """Batches of an epoch; one of fewer rows is left out."""
    return samples // batch_size + (samples % batch_size >= fewest)


class _Pool:
    """Rows, decoded and encoded once for all epochs of all trainings; they are held in memory.

    A batch of less than ``fewest`` rows is left out.
    """

    def __init__(
        self, model: ModelFamily, rows: pd.DataFrame, params: TrainingParams, fewest: int = CONTRAST
    ) -> None:
        [self.samples] = model.batches(rows, len(rows))
        self.batch_size, self.fewest = params.batch_size, fewest

    @property
    def steps(self) -> int:
        """Batches of an epoch over all rows."""
        return _steps(len(self.samples), self.batch_size, self.fewest)

    def shuffled(self, generator: torch.Generator, chosen: Tensor | None = None) -> Iterator[Any]:
        """Batches of mixed domains, of all rows or of those at the places given."""
        places = torch.arange(len(self.samples)) if chosen is None else chosen
        order = places[torch.randperm(len(places), generator=generator)]
        return (self.samples.take(part) for part in order.split(self.batch_size) if len(part) >= self.fewest)
