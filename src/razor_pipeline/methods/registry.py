"""The unlearning methods by their parameters."""

from collections.abc import Callable
from typing import Any

from razor_pipeline.interfaces import EditResult
from razor_pipeline.methods.razor import razor
from razor_pipeline.methods.slug import slug
from razor_pipeline.methods.ssd import ssd
from razor_pipeline.methods.training import finetune, salun
from razor_pipeline.params import (
    AcceptanceParams,
    FinetuneParams,
    RazorParams,
    SalunParams,
    SlugParams,
    SsdParams,
)

# Parameters say which method they are for.
METHODS: dict[type[AcceptanceParams], Callable[..., EditResult]] = {
    RazorParams: razor,
    FinetuneParams: finetune,
    SalunParams: salun,
    SsdParams: ssd,
    SlugParams: slug,
}


def run_method(model: Any, task: Any, params: AcceptanceParams, generator: Any) -> EditResult:
    """The edit of the method that the parameters are for."""
    return METHODS[type(params)](model, task, params, generator)
