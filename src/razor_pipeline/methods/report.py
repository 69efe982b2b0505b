"""What is written down about an edit."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from torch import nn

from razor_pipeline.core.quantize import Scheme, changed_bin_share, packed
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.interfaces import EditResult, ModelFamily, UnlearningTask
from razor_pipeline.params.razor import RazorParams


def describe_edit(model: ModelFamily, result: EditResult, scored: Collection[str]) -> dict[str, Any]:
    """How an edit came about and ended, as JSON; ``scored`` are all components that it could choose from."""
    weights = sum(parameter.numel() for parameter in model.module.parameters())
    return {
        "stop_reason": str(result.stop_reason),
        "rounds": result.rounds,
        "seconds": result.seconds,
        "components": [name for name in result.edit.components if name in scored],
        "components_total": len(scored),
        "hardened": [name for name in result.edit.components if name not in scored],
        "weights_edited": result.edit.weights,
        "weights_total": weights,
        "edited_fraction": result.edit.weights / weights,
        "device": str(next(model.module.parameters()).device),
    }


def signed(
    edit: WeightEdit,
    model: ModelFamily,
    task: UnlearningTask,
    params: RazorParams,
    seed: int,
    version: str,
    world_size: int,
) -> WeightEdit:
    """The edit with everything in its manifest that explains and reproduces it.

    ``world_size`` is the number of processes that scored, on all machines.
    """
    return replace(
        edit,
        manifest={
            **edit.manifest,
            "family": model.name,
            "base_model": model.origin,
            "targets": [forget.target for forget in task.forget],
            "anchors": {
                forget.target: str(forget.edit["anchor"].iloc[0])
                for forget in task.forget
                if "anchor" in forget.edit
            },
            "parameters": params.model_dump(mode="json"),
            "seed": seed,
            "world_size": world_size,
            "code_version": version,
        },
    )


def survival_row(scheme: Scheme, base: nn.Module, edited: nn.Module, edit: WeightEdit) -> dict[str, Any]:
    """What a scheme does to an edit: ``changed_bin_share`` (None for nf4, which has no even bins)."""
    share = None if scheme == "nf4" else changed_bin_share(base, edited, edit)
    size = sum(tensor.numel() * tensor.element_size() for tensor in packed(edited).values())
    return {"scheme": scheme, "changed_bin_share": share, "mb": size / 1e6}
