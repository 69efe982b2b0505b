"""The scoring pass: forget and retain gradients at the current weights, and the score of every component."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core.components import Component, parameter_names
from razor_pipeline.core.curvature import linear_weights, recording_inputs
from razor_pipeline.core.gradients import mean_gradients
from razor_pipeline.core.processes import own_share, stopping_together
from razor_pipeline.core.scoring import ComponentScore, score_components
from razor_pipeline.interfaces import ModelFamily, UnlearningTask
from razor_pipeline.methods.nearest import nearest_rows, ties_to_targets
from razor_pipeline.methods.task import drawn_evenly, forget_rows
from razor_pipeline.params.razor import ScoringParams

SPARED = 16  # rows of each target forgotten earlier whose inputs are recorded
Choice = Callable[[Sequence[ComponentScore]], Collection[str]]


@dataclass(frozen=True)
class RetainPass:
    """Retain gradients (parameter name -> tensor) and their batches; requests on one model may share them.

    Attributes:
        gradients: of the retain loss.
        batches: that it was taken over, in an order that was drawn.
        batch_size: rows of each.
    """

    gradients: dict[str, Tensor]
    batches: Sequence[Any]
    batch_size: int

    def covariances_of(self, model: ModelFamily, names: Collection[str], count: int) -> dict[str, Tensor]:
        """Input covariances of these weights over the batches, by a forward pass at the current weights.

        The first batches do, as many as hold ``count`` rows: an image's every token is an input (decision 0018).

        Only the few components of an edit need theirs, and to record all of them beside the gradients takes more
        memory than the model and half as long as the gradients (decision 0014). Nothing is kept for the next request:
        what it finds must not depend on which requests this process has seen.
        """
        wanted = set(linear_weights(model.module, names))
        batches = self.batches[: -(-count // self.batch_size)]
        found = _covariances(model.observe, model, batches, wanted) if wanted else {}
        if unseen := wanted - found.keys():  # what drift does not depend on, the retain loss may
            found |= _covariances(model.retain_loss, model, batches, unseen)
        return {name: found[name] for name in names if name in found}


@dataclass(frozen=True)
class Scored:
    """Scores of all components, and the gradients behind them (parameter name -> tensor)."""

    rows: list[ComponentScore]
    forget: dict[str, Tensor]
    retain: dict[str, Tensor]
    covariances: dict[str, Tensor]
    seconds: float


def retain_pass(
    model: ModelFamily, retain: pd.DataFrame, params: ScoringParams, generator: torch.Generator
) -> RetainPass:
    """One pass of the retain loss over the rows at the current weights."""
    batches = model.batches(
        drawn_evenly(retain, generator).head(params.retain_samples or len(retain)), params.batch_size
    )
    found = mean_gradients(model.retain_loss, batches, scored_parameters(model, params), "retain")
    return RetainPass(found.tensors, batches, params.batch_size)


def scored_parameters(model: ModelFamily, params: ScoringParams) -> dict[str, Tensor]:
    """The parameters that get a gradient."""
    everything = dict(model.module.named_parameters())
    return {name: everything[name] for name in parameter_names(editable(model, params))}


def score(
    model: ModelFamily,
    task: UnlearningTask,
    params: ScoringParams,
    generator: torch.Generator,
    shared: RetainPass | None = None,
    keep: Choice | None = None,
    whitens: bool = True,
) -> Scored:
    """One pass of each gradient at the current weights, and the score of every component.

    Args:
        model: at its current weights.
        task: targets and data.
        params: of the pass.
        generator: draws the retain rows.
        shared: saves the retain pass where requests on one model have made it already.
        keep: names the components whose gradients outlive the ranking and whose covariances are recorded; None for all.
        whitens: whether covariances are needed.
    """
    start = time.perf_counter()
    components = editable(model, params)
    parameters = scored_parameters(model, params)
    forget = mean_gradients(
        model.forget_loss, model.batches(forget_rows(task), params.batch_size), parameters, "forget"
    )
    retain = shared or retain_pass(model, task.retain, params, generator)
    rows = score_components(
        components, parameters, forget.tensors, retain.gradients, params.alpha, params.eps
    )
    kept = keep(rows) if keep else {row.component for row in rows}
    names = parameter_names([component for component in components if component.name in kept])
    forget_gradients, retain_gradients = (
        {name: tensors[name] for name in names} for tensors in (forget.tensors, retain.gradients)
    )
    passed = shared or RetainPass({}, retain.batches, retain.batch_size)
    del forget, retain  # the gradients of all others are not held while inputs are recorded
    covariances = passed.covariances_of(model, names, params.whitening_samples) if whitens else {}
    if whitens:
        covariances = _with_spared(
            model, _spared(model, task, params.nearest), covariances, params.batch_size
        )
    return Scored(rows, forget_gradients, retain_gradients, covariances, time.perf_counter() - start)


def _spared(model: ModelFamily, task: UnlearningTask, nearest: int) -> list[pd.DataFrame]:
    """What an edit is to move least: the classes nearest to the target, and what was forgotten earlier."""
    earlier = [forget.edit.head(SPARED) for forget in task.earlier]
    groups = [nearest_rows(task, ties_to_targets(model, task), nearest)] if nearest else []
    groups += [pd.concat(earlier, ignore_index=True)] if earlier else []
    return [rows for rows in groups if len(rows)]


def editable(model: ModelFamily, params: ScoringParams) -> list[Component]:
    """The components that may be edited.

    Raises:
        ValueError: ``params.towers`` names none of the model's.
    """
    every = _deep(model.components(params.granularity), params.depth)
    if params.towers is None:
        return every
    own = [component for component in every if component.tower in params.towers]
    if missing := sorted(set(params.towers) - {component.tower for component in own}):
        known = ", ".join(dict.fromkeys(component.tower for component in every))
        raise ValueError(
            f"scoring.towers names '{missing[0]}', which has no component; the model has {known}"
        )
    return own


def _deep(components: Sequence[Component], depth: float) -> list[Component]:
    """Those in the last ``depth`` of their tower's layers, at least one layer of each tower."""
    layers: dict[str, set[int]] = {}
    for component in components:
        layers.setdefault(component.tower, set()).add(component.layer)
    kept = {tower: sorted(own)[-ceil(depth * len(own)) :] for tower, own in layers.items()}
    return [component for component in components if component.layer in kept[component.tower]]


def _with_spared(
    model: ModelFamily,
    groups: Sequence[pd.DataFrame],
    covariances: dict[str, Tensor],
    batch_size: int,
) -> dict[str, Tensor]:
    """Input covariances in which each group of rows weighs as much as all retain rows together.

    Args:
        model: the model.
        groups: rows that an edit is to move least.
        covariances: of all retain rows, by weight; emptied on the way, so that two sets of them are held and not three.
        batch_size: of the passes.
    """
    for count, rows in enumerate(groups, start=1):
        found = _covariances(model.observe, model, model.batches(rows, batch_size), covariances)
        both: dict[str, Tensor] = {}
        made: dict[int, Tensor] = {}  # what shares its sum among these rows does among all
        for name in list(covariances):
            total = covariances.pop(name)
            if name not in found:  # what is observed does not pass through it
                both[name] = total
                continue
            own = found.pop(name)
            if id(own) not in made:
                made[id(own)] = own.div_(own.trace()).add_(total.div(total.trace()).mul_(count))
            both[name] = made[id(own)]
        covariances = both
    return covariances


def _covariances(
    forward: Callable[[Any], Tensor], model: ModelFamily, batches: Sequence[Any], names: Collection[str]
) -> dict[str, Tensor]:
    """Input covariances of these weights over the batches, by one forward pass; none of what it does not reach."""
    with recording_inputs(model.module, names) as found, torch.no_grad(), stopping_together():
        for batch in own_share(batches):
            forward(batch)
    return found
