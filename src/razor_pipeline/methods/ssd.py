"""Peer: SSD, selective synaptic dampening (Foster et al., AAAI 2024, arXiv 2308.07707). No training.

Deviations: importances are those of the forget loss for both sets (a contrastive loss has no meaning for one pair). The
reference set is at most ``retain_samples`` retain rows, not all training data with the forget set in it: the weights
that only the target needs stand out more, and a value of the selection weight alpha does not mean what it does there.
It is chosen on validation by the rule of all methods.
"""

from __future__ import annotations

import torch

from razor_pipeline.core.dampening import dampened, importances
from razor_pipeline.interfaces import EditResult, ModelFamily, UnlearningTask
from razor_pipeline.methods.candidates import Candidates, check_names
from razor_pipeline.methods.task import drawn_evenly, forget_rows
from razor_pipeline.params.peers import SsdParams


def ssd(
    model: ModelFamily, task: UnlearningTask, params: SsdParams, generator: torch.Generator
) -> EditResult:
    """Dampen the weights that matter more to the forget set than to what is kept.

    Raises:
        NonFiniteError: an importance is NaN or infinite; names the weight.
        ValueError: the model draws.
    """
    check_names(model, "ssd")
    found = Candidates(model, task, params, "ssd")
    retain_rows = drawn_evenly(task.retain, generator).head(params.retain_samples)
    forget, retain = (
        importances(model.forget_loss, model.batches(rows, 1), found.parameters)
        for rows in (forget_rows(task), retain_rows)
    )
    with found.search():
        for selection in params.selections:
            found.put(dampened(found.origin, forget, retain, selection, params.dampening))
            found.consider("dampening", selection)
    return found.result(params.selections)
