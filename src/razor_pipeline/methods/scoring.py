"""The scoring pass: forget and retain gradients at the current weights, and the score of every component."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import ceil

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core.components import Component, parameter_names
from razor_pipeline.core.curvature import recording_inputs
from razor_pipeline.core.gradients import mean_gradients
from razor_pipeline.core.processes import own_share, stopping_together
from razor_pipeline.core.scoring import ComponentScore, score_components
from razor_pipeline.interfaces import ModelFamily, UnlearningTask
from razor_pipeline.methods.nearest import nearest_rows
from razor_pipeline.methods.task import forget_rows, shuffled
from razor_pipeline.params import ScoringParams

Choice = Callable[[Sequence[ComponentScore]], Collection[str]]


@dataclass(frozen=True)
class RetainPass:
    """Retain gradients and input covariances (parameter name -> tensor); requests on one model may share them."""

    gradients: dict[str, Tensor]
    covariances: dict[str, Tensor]


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
    parameters = scored_parameters(model, params)
    kept = shuffled(retain, generator).head(params.retain_samples or len(retain))
    batches = model.batches(kept, params.batch_size)
    with recording_inputs(model.module, parameters) as covariances:
        found = mean_gradients(model.retain_loss, batches, parameters, "retain")
    return RetainPass(found.tensors, covariances)


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
) -> Scored:
    """One pass of each gradient at the current weights, and the score of every component.

    ``shared`` saves the retain pass where requests on one model have made it already; ``keep`` names the
    components whose gradients and covariances outlive the ranking, all where None.
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
    forget_gradients, retain_gradients, covariances = (
        {name: tensors[name] for name in names if name in tensors}
        for tensors in (forget.tensors, retain.gradients, retain.covariances)
    )
    del forget, retain
    near = nearest_rows(model, task, params.nearest)
    if len(near):
        covariances = _with_nearest(model, near, covariances, params.batch_size)
    return Scored(rows, forget_gradients, retain_gradients, covariances, time.perf_counter() - start)


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


def _with_nearest(
    model: ModelFamily,
    near: pd.DataFrame,
    covariances: dict[str, Tensor],
    batch_size: int,
) -> dict[str, Tensor]:
    """Input covariances in which the classes nearest to the target weigh as much as all others together.

    Args:
        model: the model.
        near: retain rows of these classes.
        covariances: of all retain rows, by weight; emptied on the way, so that two sets of them are held and not three.
        batch_size: of the pass.
    """
    with recording_inputs(model.module, covariances) as of_near, torch.no_grad(), stopping_together():
        for batch in own_share(model.batches(near, batch_size)):
            model.observe(batch)
    both: dict[str, Tensor] = {}
    made: dict[int, Tensor] = {}  # what shares its sum among the near rows does among all
    for name in list(covariances):
        total, own = covariances.pop(name), of_near.pop(name)
        if id(own) not in made:
            made[id(own)] = own.div_(own.trace()).add_(total / total.trace())
        both[name] = made[id(own)]
    return both
