"""The unlearning methods by their parameters."""

from __future__ import annotations

import torch

from razor_pipeline.interfaces import EditResult, ModelFamily, UnlearningMethod, UnlearningTask
from razor_pipeline.methods.esd import esd
from razor_pipeline.methods.finetune import finetune
from razor_pipeline.methods.razor import razor
from razor_pipeline.methods.salun import salun
from razor_pipeline.methods.salun_diffusion import salun_diffusion
from razor_pipeline.methods.slug import slug
from razor_pipeline.methods.ssd import ssd
from razor_pipeline.methods.uce import uce
from razor_pipeline.params.peers import (
    EsdParams,
    FinetuneParams,
    SalunDiffusionParams,
    SalunParams,
    SlugParams,
    SsdParams,
    UceParams,
)
from razor_pipeline.params.razor import AcceptanceParams, RazorParams

# Parameters say which method they are for.
METHODS: dict[type[AcceptanceParams], UnlearningMethod] = {
    RazorParams: razor,
    FinetuneParams: finetune,
    SalunParams: salun,
    SsdParams: ssd,
    SlugParams: slug,
    EsdParams: esd,
    UceParams: uce,
    SalunDiffusionParams: salun_diffusion,
}


def run_method(
    model: ModelFamily, task: UnlearningTask, params: AcceptanceParams, generator: torch.Generator
) -> EditResult:
    """The edit of the method that the parameters are for."""
    return METHODS[type(params)](model, task, params, generator)
