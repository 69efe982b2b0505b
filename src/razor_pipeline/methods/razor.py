"""RAZOR: score, select, edit in zero steps, correct in a few, grow only while forgetting falls short.

Source: arXiv 2603.14819 (Ratio-Aware Zero/One-step Optimized Retentive unlearning). What goes beyond it: the step
search stops on a measure that goes on where accuracy ends (how well the target's images can be told from those of
never-seen people), and the corrective steps hold that measure where never-seen people have it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core.components import Component, parameter_names
from razor_pipeline.core.curvature import recording_inputs
from razor_pipeline.core.edit import Pieces, fused_direction, move, restore, snapshot
from razor_pipeline.core.expansion import Attempt, Expansion, expand
from razor_pipeline.core.gradients import mean_gradients
from razor_pipeline.core.processes import own_share, stopping_together
from razor_pipeline.core.scoring import ComponentScore, score_components
from razor_pipeline.core.selection import select
from razor_pipeline.core.step_search import smallest_step
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.interfaces import EditResult, ModelFamily, UnlearningTask
from razor_pipeline.methods.acceptance import shortfall
from razor_pipeline.methods.nearest import nearest_rows
from razor_pipeline.methods.repair import Repair
from razor_pipeline.methods.task import shuffled
from razor_pipeline.methods.validation import Outcome, Validation
from razor_pipeline.params import RazorParams, ScoringParams

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
    parameters = _scored_parameters(model, params)
    kept = shuffled(retain, generator).head(params.retain_samples or len(retain))
    batches = model.batches(kept, params.batch_size)
    with recording_inputs(model.module, parameters) as covariances:
        found = mean_gradients(model.retain_loss, batches, parameters, "retain")
    return RetainPass(found.tensors, covariances)


def _scored_parameters(model: ModelFamily, params: ScoringParams) -> dict[str, Tensor]:
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
    parameters = _scored_parameters(model, params)
    forget_rows = pd.concat([forget.edit for forget in task.forget])
    forget = mean_gradients(
        model.forget_loss, model.batches(forget_rows, params.batch_size), parameters, "forget"
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


def budget(model: ModelFamily, params: RazorParams, edited: Sequence[str]) -> int:
    """Weights that may still be edited."""
    parameters = dict(model.module.named_parameters())
    total = sum(parameter.numel() for parameter in parameters.values())
    used = sum(c.numel(parameters) for c in editable(model, params.scoring) if c.name in edited)
    return int(params.max_edited_share * total) - used


def chosen(
    model: ModelFamily, params: RazorParams, rows: Sequence[ComponentScore], edited: Sequence[str] = ()
) -> tuple[str, ...]:
    """The components that a round adds to those edited already."""
    room = budget(model, params, edited)
    return select(rows, params.components, room, params.tau, params.per_tower, edited)


def editable(model: ModelFamily, params: ScoringParams) -> list[Component]:
    """The components that may be edited.

    Raises:
        ValueError: ``params.towers`` names none of the model's.
    """
    every = model.components(params.granularity)
    if params.towers is None:
        return list(every)
    own = [component for component in every if component.tower in params.towers]
    if missing := sorted(set(params.towers) - {component.tower for component in own}):
        known = ", ".join(dict.fromkeys(component.tower for component in every))
        raise ValueError(
            f"scoring.towers names '{missing[0]}', which has no component; the model has {known}"
        )
    return own


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


def razor(
    model: ModelFamily,
    task: UnlearningTask,
    params: RazorParams,
    generator: torch.Generator,
    scored: Scored | None = None,
) -> EditResult:
    """Compute the edit; ``scored`` saves the scoring pass where a pipeline has made it already.

    Raises:
        NonFiniteError: a loss, gradient or direction has NaN or Inf; names it. The model is as it was.
        ValueError: no component passes the threshold and fits the budget.
    """
    scored = scored or score(model, task, params.scoring, generator, keep=partial(chosen, model, params))
    start = time.perf_counter()
    editor = _Editor(model, task, params, generator, scored)
    try:
        expansion = expand(editor.attempt, params.max_rounds)
        edit = editor.weight_edit(expansion)
    finally:
        editor.put_back()
    seconds = {"score": scored.seconds, "edit": time.perf_counter() - start}
    return EditResult(edit, editor.trace, expansion.reason, expansion.rounds, seconds)


@dataclass(frozen=True)
class _State:
    """Edited components and their weights."""

    names: tuple[str, ...]
    pieces: Pieces


class _Editor:
    """Moves the model's components in place, measures, and keeps the best state of a round."""

    def __init__(
        self,
        model: ModelFamily,
        task: UnlearningTask,
        params: RazorParams,
        generator: torch.Generator,
        scored: Scored,
    ) -> None:
        self.model, self.task, self.params, self.generator, self.scored = (
            model,
            task,
            params,
            generator,
            scored,
        )
        self.components = {c.name: c for c in editable(model, params.scoring)}
        self.parameters = dict(model.module.named_parameters())
        self.origin: Pieces = {}  # of what was ever moved; the rest is as it was
        self.validation = Validation(model, task)
        self.trace: list[dict[str, Any]] = []
        self.base = self.measure("base", 0, 0.0)
        self.repair = Repair(model, task, params, generator) if params.repair.steps else None

    def measure(self, stage: str, round_: int, step: float) -> Outcome:
        """Evaluate the model as it is and note it in the trace."""
        outcome = self.validation()
        self._note(outcome, stage, round_, step)
        return outcome

    def _note(self, outcome: Outcome, stage: str, round_: int, step: float) -> None:
        self.trace.append(outcome.row(step=len(self.trace), round=round_, stage=stage, step_size=step))

    def attempt(self, round_: int, best: _State | None) -> Attempt[_State] | None:
        """One round: add components, zero-step edit along them, corrective steps over all edited ones."""
        edited = best.names if best else ()
        if not self._room(edited):
            return None
        scored = self.scored
        if best is not None:
            self._restore(best)
            scored = score(
                self.model,
                self.task,
                self.params.scoring,
                self.generator,
                keep=lambda rows: (*edited, *chosen(self.model, self.params, rows, edited)),
            )
        fresh = chosen(self.model, self.params, scored.rows, edited)
        if not fresh:
            return None
        names = (*edited, *fresh)
        self.origin |= snapshot(self.parameters, [self.components[name] for name in fresh])
        moved = self._zero_step(round_, [self.components[name] for name in fresh], scored)
        self._note(moved, "zero_step", round_, 0.0)
        return self._correct(round_, names, scored, moved)

    def _room(self, edited: Sequence[str]) -> bool:
        """Whether any component still fits; where none does, scoring again would be in vain."""
        room = budget(self.model, self.params, edited)
        return any(
            component.numel(self.parameters) <= room
            for name, component in self.components.items()
            if name not in edited
        )

    def _zero_step(self, round_: int, components: list[Component], scored: Scored) -> Outcome:
        """Move the components along the scoring gradients by the smallest step that forgets; no backward pass.

        Returns:
            What the search saw at that step.
        """
        objective, search = self.params.objective, self.params.search
        start = snapshot(self.parameters, components)
        direction = fused_direction(
            components,
            self.parameters,
            scored.forget if objective.lambda_f else None,
            [(objective.lambda_r, scored.retain)],
            objective.lambda_f * objective.rho,
            self.params.project,
            scored.covariances if self.params.damping is not None else None,
            self.params.damping or 0.1,
        )

        seen: dict[float, Outcome] = {}

        def left_to_forget(step: float) -> float:
            move(self.parameters, components, start, direction, step)
            seen[step] = self.measure("search", round_, step)
            return seen[step].left_to_forget(search.measure)

        step = smallest_step(
            left_to_forget, search.goal, search.first_step, search.largest_step, search.evaluations
        )
        step = search.largest_step if step is None else step
        move(self.parameters, components, start, direction, step)
        return seen.get(step) or self.validation()

    def _correct(
        self, round_: int, names: tuple[str, ...], scored: Scored, moved: Outcome
    ) -> Attempt[_State]:
        """Few corrective steps with gradients taken again; the last of the best states on validation is kept."""
        components = [self.components[name] for name in names]
        covariances = scored.covariances if self.params.damping is not None else None
        best = self._assess(names, moved)
        repair = self.params.repair
        for taken in range(repair.steps):
            assert self.repair is not None
            step = repair.step * repair.decay**taken
            change = self.repair.change(components, self.parameters, covariances, step)
            move(self.parameters, components, snapshot(self.parameters, components), change, 1.0)
            latest = self._assess(names, self.measure("repair", round_, step))
            best = latest if latest.gap <= best.gap else best
        return best

    def _assess(self, names: tuple[str, ...], outcome: Outcome) -> Attempt[_State]:
        short = shortfall(outcome, self.base, self.params, self.params.search.measure == "knowledge_auc")
        state = _State(names, snapshot(self.parameters, [self.components[name] for name in names]))
        return Attempt(state, short.gap, short.forgotten, short.retain == 0.0)

    @torch.no_grad()
    def put_back(self) -> None:
        """Give the model its base weights again, bit for bit."""
        for component in self.components.values():
            for part in component.slices:
                if part.key in self.origin:
                    part.view(self.parameters[part.parameter]).copy_(self.origin[part.key])

    def _restore(self, state: _State) -> None:
        self.put_back()
        restore(self.parameters, [self.components[name] for name in state.names], state.pieces)

    def weight_edit(self, expansion: Expansion[_State]) -> WeightEdit:
        """The best state as an edit of the base weights."""
        state = expansion.best.state
        parts = [part for name in state.names for part in self.components[name].slices]
        dtype = self.model.stored_dtype
        before = {part.key: self.origin[part.key].to(dtype) for part in parts}
        after = {key: piece.to(dtype) for key, piece in state.pieces.items()}
        return WeightEdit(tuple(parts), before, after, state.names, {"method": "razor"})
