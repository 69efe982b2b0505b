"""RAZOR: score, select, edit in zero steps, correct in a few, grow only while forgetting falls short.

Source: arXiv 2603.14819 (Ratio-Aware Zero/One-step Optimized Retentive unlearning). What goes beyond it: the step
search stops on a measure that goes on where accuracy ends (how well the target's images can be told from those of
never-seen people), and the corrective steps hold that measure where never-seen people have it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import torch

from razor_pipeline.core.components import Component
from razor_pipeline.core.curvature import InputFactors
from razor_pipeline.core.edit import add, fused_direction, move, snapshot
from razor_pipeline.core.expansion import Attempt, expand
from razor_pipeline.core.scoring import ComponentScore
from razor_pipeline.core.selection import select
from razor_pipeline.core.step_search import smallest_step
from razor_pipeline.interfaces import EditResult, ModelFamily, UnlearningTask
from razor_pipeline.methods.acceptance import shortfall
from razor_pipeline.methods.editor import Editor, State
from razor_pipeline.methods.hardening import Hardening
from razor_pipeline.methods.repair import repair_of
from razor_pipeline.methods.scoring import RetainPass, Scored, editable, score
from razor_pipeline.methods.validation import Outcome, Validation
from razor_pipeline.params.razor import RazorParams

logger = logging.getLogger(__name__)


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


def scored_for(
    model: ModelFamily,
    task: UnlearningTask,
    params: RazorParams,
    generator: torch.Generator,
    edited: Sequence[str] = (),
    shared: RetainPass | None = None,
) -> Scored:
    """The scoring pass of a round, which keeps what the round needs: of what it adds, and of what is edited already."""
    return score(
        model,
        task,
        params.scoring,
        generator,
        shared,
        keep=lambda rows: (*edited, *chosen(model, params, rows, edited)),
        whitens=params.damping is not None,
    )


def razor(
    model: ModelFamily,
    task: UnlearningTask,
    params: RazorParams,
    generator: torch.Generator,
    scored: Scored | None = None,
    original: ModelFamily | None = None,
) -> EditResult:
    """Compute the edit.

    Args:
        model: what the edit starts from; it is as it was on exit.
        task: targets and data.
        params: of the method.
        generator: of all draws.
        scored: saves the scoring pass where a pipeline has made it already.
        original: the model before any request, where others were edited into ``model`` before; what is kept is held
            against it, so that the costs of a line of edits do not add up. None: ``model``.

    Raises:
        NonFiniteError: a loss, gradient or direction has NaN or Inf; names it. The model is as it was.
        ValueError: no component passes the threshold and fits the budget; or targets were forgotten earlier in a model
            that draws.
    """
    if task.earlier and model.yardstick == "anchor":  # nobody knows any more what their prompts were led to
        raise ValueError(
            f"'{task.earlier[0].target}' was forgotten earlier, and a model that draws would be led back to it; "
            "name all targets in one request"
        )
    scored = scored or scored_for(model, task, params, generator)
    start = time.perf_counter()
    rounds = _Rounds(model, task, params, generator, scored, original or model)
    editor = rounds.editor
    try:
        expansion = expand(rounds.attempt, params.max_rounds)
        edit = editor.kept(rounds.hardened(expansion.best.state))
    finally:
        editor.put_back()
    seconds = {"score": scored.seconds, "edit": time.perf_counter() - start}
    return EditResult(edit, editor.trace, expansion.reason, expansion.rounds, seconds)


class _Rounds:
    """Attempts with ever more components, and what comes behind the best of them."""

    def __init__(
        self,
        model: ModelFamily,
        task: UnlearningTask,
        params: RazorParams,
        generator: torch.Generator,
        scored: Scored,
        original: ModelFamily,
    ) -> None:
        self.model, self.task, self.params = model, task, params
        self.generator, self.scored = generator, scored
        self.validation = Validation(model, task)
        self.editor = Editor(model, editable(model, params.scoring), self.validation)
        self.parameters = self.editor.parameters
        self.hardening = Hardening(model, task, params, generator) if params.harden else None
        self.base = self.start = self.editor.measure("base", 0, 0.0)
        if original is not model:
            self.base = self.validation(original)
            self.editor.note(self.base, "original", 0, 0.0)
        self.repair = (
            repair_of(model, task, params, generator, original, self.validation)
            if params.repair.steps
            else None
        )

    def attempt(self, round_: int, best: State | None) -> Attempt[State] | None:
        """One round: add components, zero-step edit along them if asked for, corrective steps over all edited ones.

        Where none can be added, further corrective steps over those that are edited.
        """
        edited = best.names if best else ()
        if best is not None:
            self.editor.restore(best)
        if not self._room(edited):
            return self._correct(round_, edited, best.outcome) if best else None
        if best is not None:
            self.scored = scored_for(self.model, self.task, self.params, self.generator, edited)
        fresh = chosen(self.model, self.params, self.scored.rows, edited)
        if not fresh:
            return self._correct(round_, edited, best.outcome) if best else None
        names = (*edited, *fresh)
        self.editor.take(self.editor.named(fresh))
        here = best.outcome if best else self.start
        if self.params.search.evaluations:
            step, here = self._zero_step(round_, self.editor.named(fresh))
            self.editor.note(here, "zero_step", round_, step)
        return self._correct(round_, names, here)

    def _room(self, edited: Sequence[str]) -> bool:
        """Whether any component still fits; where none does, scoring again would be in vain."""
        room = budget(self.model, self.params, edited)
        return any(
            component.numel(self.parameters) <= room
            for name, component in self.editor.components.items()
            if name not in edited
        )

    def _zero_step(self, round_: int, components: list[Component]) -> tuple[float, Outcome]:
        """Move the components along the scoring gradients by the smallest step that forgets; no backward pass.

        Returns:
            The step, the largest one tried where none forgets, and what the search saw there.
        """
        objective, search = self.params.objective, self.params.search
        start = snapshot(self.parameters, components)
        direction = fused_direction(
            components,
            self.parameters,
            self.scored.forget if objective.lambda_f else None,
            [(objective.lambda_r, self.scored.retain)],
            objective.lambda_f * objective.rho,
            self.params.project,
            self._factors(self.params.damping),
        )

        seen: dict[float, Outcome] = {}

        def left_to_forget(step: float) -> float:
            move(self.parameters, components, start, direction, step)
            seen[step] = self.editor.measure("search", round_, step)
            return seen[step].left_to_forget(search.measure)

        step = smallest_step(
            left_to_forget, search.goal, search.first_step, search.largest_step, search.evaluations
        )
        step = max(seen) if step is None else step
        # Where the last one tried was this, the model stands there already, and what validation embedded still counts.
        if step != list(seen)[-1]:
            move(self.parameters, components, start, direction, step)
        return step, seen[step]

    def _factors(self, damping: float | None) -> InputFactors | None:
        """What steps are whitened by, at their damping; None where ``razor.damping`` says that none is."""
        if damping is None or self.params.damping is None:
            return None
        return InputFactors(self.scored.covariances, damping)

    def _correct(self, round_: int, names: tuple[str, ...], here: Outcome) -> Attempt[State]:
        """Few corrective steps with gradients taken again; the last of the best states on validation is kept."""
        components = self.editor.named(names)
        repair = self.params.repair
        factors = self._factors(repair.damping)
        best, seen = self._better(names, here), here
        for taken in range(repair.steps):
            assert self.repair is not None
            step = repair.step * repair.decay**taken
            change = self.repair.change(components, self.parameters, factors, step, seen.reference)
            add(self.parameters, components, change)
            seen = self.editor.measure("repair", round_, step)
            best = self._better(names, seen, best)
        return best

    def _better(
        self, names: tuple[str, ...], outcome: Outcome, best: Attempt[State] | None = None
    ) -> Attempt[State]:
        """The state that the model is in, or the best one so far where that falls short of less."""
        short = shortfall(outcome, self.base, self.params, self.model.yardstick == "reference")
        if best is None or short.gap <= best.gap:
            return Attempt(self.editor.state(names, outcome), short.gap, short.forgotten, short.kept)
        return best

    def hardened(self, state: State) -> State:
        """The state behind the rounds against learnt words, where they are asked for.

        A round that costs more of what is kept than an edit may is taken back, and is the last one.

        Raises:
            ValueError: no matrix of the body fits the budget.
        """
        if self.hardening is None:
            return state
        assert self.params.harden is not None
        self.editor.restore(state)
        room = budget(self.model, self.params, state.names)
        self.hardening.check_room(room)
        before = self.hardening.validation()
        self.editor.note(before, "unhardened", 0, 0.0)
        floor = before.retain_accuracy - self.params.max_retain_drop
        self.hardening.learn_words()
        body = self.hardening.chosen(room)
        self.editor.take(body)
        names = (*state.names, *(component.name for component in body))
        for round_ in range(self.params.harden.rounds):
            if round_:
                self.hardening.learn_words()
            self.hardening.unlearn(body, self.parameters)
            seen = self.hardening.validation()
            kept = seen.retain_accuracy >= floor
            self.editor.note(seen, "harden" if kept else "taken_back", round_, 0.0)
            if not kept:
                logger.warning(
                    "Round %d of hardening is taken back: others are told apart in %.2f %% of the validation split, "
                    "at least %.2f %% is asked for (razor.max_retain_drop).",
                    round_ + 1,
                    100.0 * seen.retain_accuracy,
                    100.0 * floor,
                )
                break
            state = self.editor.state(names, state.outcome)
        return state
