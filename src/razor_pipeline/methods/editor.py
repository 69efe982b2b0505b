"""A model whose weights are moved in place: measured, put back, and written down as an edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from razor_pipeline.core.components import Component, write
from razor_pipeline.core.edit import Pieces, restore, snapshot
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.methods.validation import Outcome, Validation


@dataclass(frozen=True)
class State:
    """Edited components, their weights, and what validation saw of them."""

    names: tuple[str, ...]
    pieces: Pieces
    outcome: Outcome


class Editor:
    """Knows the base weights of all that was ever moved, and what was measured on the way.

    Args:
        model: at the weights that the edit starts from.
        components: that may be edited.
        validation: of the model.

    Attributes:
        components: by name.
        parameters: name -> the model's weights.
        trace: a row per measurement.
    """

    def __init__(self, model: ModelFamily, components: Sequence[Component], validation: Validation) -> None:
        self.model, self.validation = model, validation
        self.components = {component.name: component for component in components}
        self.parameters = dict(model.module.named_parameters())
        self.origin: Pieces = {}  # of what was ever moved; the rest is as it was
        self.trace: list[dict[str, Any]] = []
        self._seen: list[Outcome] = []

    def named(self, names: Sequence[str]) -> list[Component]:
        """The components of these names."""
        return [self.components[name] for name in names]

    def measure(self, stage: str, round_: int, step: float) -> Outcome:
        """Evaluate the model as it is and note it in the trace."""
        outcome = self.validation()
        self.note(outcome, stage, round_, step)
        return outcome

    def note(self, outcome: Outcome, stage: str, round_: int, step: float) -> None:
        """Add what was seen to the trace."""
        self.trace.append(outcome.row(step=len(self.trace), round=round_, stage=stage, step_size=step))
        self._seen.append(outcome)

    def take(self, components: Sequence[Component]) -> None:
        """Remember the base weights of components that are about to be moved for the first time."""
        self.components |= {component.name: component for component in components}
        self.origin |= snapshot(self.parameters, components)

    def state(self, names: tuple[str, ...], outcome: Outcome) -> State:
        """The components' weights as they are."""
        return State(names, snapshot(self.parameters, self.named(names)), outcome)

    def restore(self, state: State) -> None:
        """Give the model a state's weights, and its base weights elsewhere."""
        self.put_back()
        restore(self.parameters, self.named(state.names), state.pieces)

    def put_back(self) -> None:
        """Give the model its base weights again, bit for bit."""
        parts = (part for component in self.components.values() for part in component.slices)
        write(self.parameters, (part for part in parts if part.key in self.origin), self.origin)

    def kept(self, state: State) -> WeightEdit:
        """A state as an edit of the base weights; its row in the trace is marked."""
        [*_, place] = (index for index, seen in enumerate(self._seen) if seen is state.outcome)
        self.trace = [row | {"kept": index == place} for index, row in enumerate(self.trace)]
        parts = [part for component in self.named(state.names) for part in component.slices]
        dtype = self.model.stored_dtype
        before = {part.key: self.origin[part.key].to("cpu", dtype) for part in parts}
        after = {key: piece.to("cpu", dtype) for key, piece in state.pieces.items()}
        return WeightEdit(tuple(parts), before, after, state.names, {"method": "razor"})
