"""Where a model computes: on a GPU where there is one, or where the parameter ``device`` says."""

from __future__ import annotations

import os
from typing import Any

import torch


class Placed:
    """A family's model on its device.

    Batches, losses, logits and embeddings are where the model is; scores and whatever else goes into a table are on the
    CPU. Random numbers are drawn on the CPU, so that a seed means the same everywhere.
    """

    module: Any

    @property
    def device(self) -> torch.device:
        """Where the weights are, and what a pass is given."""
        found: torch.device = next(self.module.parameters()).device
        return found

    def move_to(self, device: torch.device) -> None:
        """Move all of the model there, in place."""
        self.module.to(device)


def device_named(name: str) -> torch.device:
    """The device that the parameter ``device`` asks for.

    Args:
        name: ``auto`` (a GPU where torch sees one, the CPU otherwise), ``cpu``, ``cuda`` or ``cuda:<number>``. Of the
            processes that ``torch.distributed.run`` started on a machine, each takes the GPU of its own number where
            none is named.

    Raises:
        ValueError: torch knows no such device, or does not see it on this machine.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind = "cuda" if gpus else "cpu"
    try:
        device = torch.device(kind if name == "auto" else name)
    except RuntimeError as error:
        raise ValueError(f"device is '{name}'; it must be auto, cpu, cuda or cuda:<number>") from error
    if device.type == "cpu":
        return device
    number = int(os.environ.get("LOCAL_RANK", "0")) if device.index is None else device.index
    if device.type != "cuda" or number >= gpus:
        raise ValueError(
            f"device is '{name}', and torch sees {gpus} GPUs here; choose auto, cpu or one that there is"
        )
    return torch.device("cuda", number)
