"""The edit of one cell, as `kedro run` makes it, and what it cost."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import torch

from razor_pipeline.interfaces import EditResult, ModelFamily, See
from razor_pipeline.methods.anchor import chosen_anchors, with_anchors
from razor_pipeline.methods.razor import razor
from razor_pipeline.methods.registry import run_method
from razor_pipeline.methods.saved_scores import candidates, scored_candidates
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.params.razor import AcceptanceParams, RazorParams
from razor_pipeline.studies.cells import Row
from razor_pipeline.studies.peak import peak_memory


def edit(
    base: ModelFamily,
    samples: pd.DataFrame,
    params: AcceptanceParams,
    seed: int,
    see: See | None = None,
    original: ModelFamily | None = None,
) -> EditResult:
    """The edit of the method that the parameters are for.

    RAZOR scores and edits with two generators of one seed, as the two pipeline steps have them.

    Args:
        base: what the edit starts from.
        samples: manifest rows with roles.
        params: of the method.
        seed: of all draws.
        see: looks at what the model draws.
        original: the model before the first of a line of edits, as which everything else is kept; None where it is
            ``base``.
    """
    first = original or base
    task = replace(unlearning_task(samples), see=see)
    task = with_anchors(first, task, chosen_anchors(first, task, params.anchor))
    generator = torch.Generator().manual_seed(seed)
    with peak_memory() as peak:
        if isinstance(params, RazorParams):
            scored = scored_candidates(base, task, params, torch.Generator().manual_seed(seed))
            best = candidates(scored.rows, params)
            scored = replace(scored, rows=[row for row in scored.rows if row.component in best])
            result = razor(base, task, params, generator, scored, original)
        else:
            result = run_method(base, task, params, generator)
    return replace(result, peak_rss_mb=peak.mb)


def cost(result: EditResult, base: ModelFamily) -> Row:
    """Size, rounds, seconds and memory of an edit."""
    total = sum(parameter.numel() for parameter in base.module.parameters())
    return {
        "edited_fraction": result.edit.weights / total,
        "components": len(result.edit.components),
        "rounds": result.rounds,
        "stop_reason": str(result.stop_reason),
        "evaluations": len(result.trace),
        "score_seconds": result.seconds["score"],
        "edit_seconds": result.seconds["edit"],
        "peak_rss_mb": result.peak_rss_mb,
    }
