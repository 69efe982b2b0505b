"""Revival by somebody who knows the edit: scaling its delta back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from razor_pipeline.core.components import write
from razor_pipeline.core.weight_edit import EditMismatchError, WeightEdit


@contextmanager
def scaled_back(parameters: Mapping[str, Tensor], edit: WeightEdit, share: float) -> Iterator[None]:
    """Hold the edited model with a share of its edit undone: ``theta' + share (theta - theta')``.

    What an attacker can do who knows where the edit was made and in which direction ('Roots Beneath the Cut', CVPR
    2026): neither data nor training. At a share of 1 the base model is back by definition.

    Args:
        parameters: name -> weights, which hold the edit; they do again behind the block, bit for bit.
        edit: the edit.
        share: 0 leaves the edit as it is.

    Raises:
        EditMismatchError: the weights do not hold the edit.
    """
    if edit.state_of(parameters) != "edited":
        raise EditMismatchError("the model does not hold the edit that is to be scaled back; apply it first")
    try:
        with torch.no_grad():
            for part in edit.slices:
                view = part.view(parameters[part.parameter])
                before, after = (side[part.key].to(view.dtype) for side in (edit.before, edit.after))
                view.copy_(after + share * (before - after))
        yield
    finally:
        write(parameters, edit.slices, edit.after)
