"""Peer: SLUG, single layer unlearning gradient (Cai et al., ICML 2025, arXiv 2407.11867).

The layers of each tower's Pareto front of importance and alignment are tried one by one: one gradient at the base
weights, and the step along it by bisection on the forget accuracy, starting from ``||theta|| / (10 ||g_f||)``.

Deviations: the layer is chosen on validation by the rule of all methods (the source reads the test metric); at most
``layers`` of a front are tried. In a model that draws, the layers are those of its text encoders, as in the source;
the forget loss is the way to the anchor (the source takes that of a whole CLIP, whose vision tower is not at hand).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from razor_pipeline.core.components import Component
from razor_pipeline.core.edit import move, snapshot
from razor_pipeline.core.pareto import pareto_fronts
from razor_pipeline.core.scoring import ComponentScore
from razor_pipeline.core.step_search import smallest_step
from razor_pipeline.interfaces import EditResult, ModelFamily, UnlearningTask
from razor_pipeline.methods.candidates import Candidates
from razor_pipeline.methods.scoring import score
from razor_pipeline.params.peers import SlugParams

FIRST, LARGEST = 0.1, 1.6  # of the layer's norm; the first is ||theta|| / (10 ||g_f||) along g_f


def slug(
    model: ModelFamily, task: UnlearningTask, params: SlugParams, generator: torch.Generator
) -> EditResult:
    """Move one layer along its forget gradient, as little as forgetting takes.

    Raises:
        NonFiniteError: a loss or gradient is NaN or infinite; names it.
    """
    found = Candidates(model, task, params, "slug")
    scored = score(model, task, params.scoring, generator, keep=partial(_tried, params), whitens=False)
    components = {c.name: c for c in model.components(params.scoring.granularity)}
    rows = {row.component: row for row in scored.rows}
    with found.search():
        for name in _tried(params, scored.rows):
            _bisect(found, components[name], rows[name], scored.forget, params.evaluations)
            found.put(found.origin)
    return found.result()


def _tried(params: SlugParams, scores: Sequence[ComponentScore]) -> list[str]:
    return [row.component for front in pareto_fronts(scores) for row in front[: params.layers]]


def _bisect(
    found: Candidates, layer: Component, row: ComponentScore, forget: Mapping[str, Tensor], evaluations: int
) -> None:
    start = snapshot(found.parameters, [layer])
    scale = row.theta_norm / row.forget_norm if row.forget_norm > 0.0 else 0.0
    direction = {part.key: scale * part.view(forget[part.parameter]) for part in layer.slices}

    def left_to_forget(step: float) -> float:
        move(found.parameters, [layer], start, direction, step)
        found.consider(layer.name, step)
        return float(found.trace[-1]["forget_accuracy"])

    smallest_step(left_to_forget, 0.0, FIRST, LARGEST, evaluations)
