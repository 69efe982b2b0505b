"""Peer: UCE, unified concept editing (Gandikota et al., WACV 2024, arXiv 2308.14761). No training.

Keys and values of every cross-attention are solved for in closed form: the target's prompts get the outputs of their
anchors', all others keep their own (:func:`razor_pipeline.core.redirection.closed_form`).

Deviations: whole prompts of the data, token by token in the same place, stand for the concepts (the source takes the
bare names, from their last token on), and the empty prompt is kept as well, as much as all others together, since
guidance puts it into every drawing; the weight of what is erased is chosen on validation by the rule of all methods.
Stable Diffusion 3 has no weights whose input is the prompt alone behind its first layer, so UCE refuses it.
"""

from __future__ import annotations

import torch

from razor_pipeline.core.redirection import closed_form, state_sums
from razor_pipeline.interfaces import EditResult, ModelFamily, UnlearningTask
from razor_pipeline.methods.candidates import Candidates
from razor_pipeline.methods.lessons import drawing
from razor_pipeline.methods.task import forget_rows
from razor_pipeline.params.peers import UceParams


@torch.no_grad()
def uce(
    model: ModelFamily,
    task: UnlearningTask,
    params: UceParams,
    generator: torch.Generator,  # noqa: ARG001
) -> EditResult:
    """Solve for keys and values.

    Raises:
        ValueError: the model does not draw, or nothing in it reads the prompt alone.
    """
    family = drawing(model, "uce")
    pairs = forget_rows(task)[["prompt", "anchor"]].drop_duplicates()
    kept = list(task.retain["prompt"].drop_duplicates())
    states = (
        family.token_states(list(prompts)).flatten(0, 1)
        for prompts in (pairs["prompt"], pairs["anchor"], kept, [""])
    )
    sums = state_sums(*states)
    found = Candidates(model, task, params, "uce")
    with found.search():
        for scale in params.erase_scales:
            found.put(
                {
                    name: closed_form(found.origin[name], sums, scale, params.preserve_scale, params.ridge)
                    for name in family.prompt_readers()
                }
            )
            found.consider("closed_form", scale)
    return found.result(params.erase_scales)
