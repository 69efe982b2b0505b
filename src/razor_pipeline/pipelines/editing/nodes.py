"""Edit the base model and export it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline import __version__
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.methods.anchor import with_anchors
from razor_pipeline.methods.razor import razor as run_razor
from razor_pipeline.methods.report import describe_edit, signed
from razor_pipeline.methods.saved_scores import restore_scored
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.model_card import model_card
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.studies.peak import peak_memory


def edit_model(
    base_model: ModelFamily,
    samples: pd.DataFrame,
    component_scores: pd.DataFrame,
    component_gradients: dict[str, Tensor],
    scoring_report: dict[str, Any],
    anchors: dict[str, str],
    razor: RazorParams,
    seed: int,
) -> tuple[WeightEdit, pd.DataFrame, dict[str, Any]]:
    """The edit, its trace, and how it ended."""
    task = with_anchors(base_model, unlearning_task(samples), anchors)
    scored = restore_scored(
        base_model, component_scores, component_gradients, razor, scoring_report["seconds"]
    )
    with peak_memory() as peak:
        result = run_razor(base_model, task, razor, torch.Generator().manual_seed(seed), scored)
    report = describe_edit(base_model, result, set(component_scores["component"]))
    report["peak_rss_mb"] = peak.mb
    edit = signed(result.edit, base_model, task, razor, seed, __version__, scoring_report["world_size"])
    return edit, pd.DataFrame(result.trace), report


def export_model(base_model: ModelFamily, weight_edit: WeightEdit) -> ModelFamily:
    """The base model with the edit in it."""
    weight_edit.apply(dict(base_model.module.named_parameters()))
    made = weight_edit.manifest
    base_model.card = model_card(
        made["base_model"],
        made["targets"],
        made["method"],
        weight_edit.components,
        made["seed"],
        base_model.name,
    )
    return base_model
