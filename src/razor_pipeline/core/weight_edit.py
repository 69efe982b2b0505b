"""A weight edit: the edited slices before and after, so that it applies, reverts and verifies bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from razor_pipeline.core.components import Component, ParameterSlice, write
from razor_pipeline.core.edit import restore, snapshot


class EditMismatchError(ValueError):
    """The model's weights are not the ones that the edit was made from (or leads to)."""


@dataclass(frozen=True)
class WeightEdit:
    """The edited slices of a model and nothing else.

    Attributes:
        slices: where each piece lies.
        before: slice key -> weights of the base model, in the base's own dtype.
        after: slice key -> edited weights, in the same dtype.
        components: names of the edited components.
        manifest: method, parameters, seed, code version, base model and whatever else explains the edit;
            JSON-able.
    """

    slices: tuple[ParameterSlice, ...]
    before: dict[str, Tensor]
    after: dict[str, Tensor]
    components: tuple[str, ...] = ()
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> int:
        """Number of weights that are others than before; a slice may hold some that are not."""
        return sum(int((tensor != self.before[key]).sum()) for key, tensor in self.after.items())

    def apply(self, parameters: Mapping[str, Tensor]) -> None:
        """Write the edited weights.

        Raises:
            EditMismatchError: the weights are not the base's, bit for bit; nothing was changed.
        """
        self._swap(parameters, self.before, self.after, "apply")

    def revert(self, parameters: Mapping[str, Tensor]) -> None:
        """Write the base's weights back, bit-exactly.

        Raises:
            EditMismatchError: the weights are not the edited ones, bit for bit; nothing was changed.
        """
        self._swap(parameters, self.after, self.before, "revert")

    def state_of(self, parameters: Mapping[str, Tensor]) -> str:
        """``base``, ``edited`` or ``other``: which weights the model holds in the edited slices."""
        if self._differing(parameters, self.before) is None:
            return "base"
        return "edited" if self._differing(parameters, self.after) is None else "other"

    def _differing(self, parameters: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
        for part in self.slices:
            if part.parameter not in parameters:
                return part.key
            tensor = parameters[part.parameter]
            if part.dim is not None and (part.dim >= tensor.ndim or part.stop > tensor.shape[part.dim]):
                return part.key
            view, wanted = part.view(tensor), expected[part.key]
            if view.shape != wanted.shape or not torch.equal(view.detach(), wanted.to(view)):
                return part.key
        return None

    def _swap(
        self,
        parameters: Mapping[str, Tensor],
        old: Mapping[str, Tensor],
        new: Mapping[str, Tensor],
        verb: str,
    ) -> None:
        differing = self._differing(parameters, old)
        if differing is not None:
            state, done = ("base", "applied") if verb == "apply" else ("edited", "reverted")
            raise EditMismatchError(
                f"cannot {verb} the edit: '{differing}' does not hold the {state} weights it was made for; "
                f"check that this is the right model and that the edit is not {done} already"
            )
        write(parameters, self.slices, new)


@contextmanager
def applied(parameters: Mapping[str, Tensor], edit: WeightEdit) -> Iterator[None]:
    """Hold the edit inside the block; the base's weights are back behind it, also when the block raises."""
    edit.apply(parameters)
    try:
        yield
    finally:
        write(parameters, edit.slices, edit.before)


@contextmanager
def preserved(parameters: Mapping[str, Tensor], components: Sequence[Component]) -> Iterator[None]:
    """Let the block change the components; every bit of them is back behind it, also when it raises."""
    saved = snapshot(parameters, components)
    try:
        yield
    finally:
        restore(parameters, components, saved)
