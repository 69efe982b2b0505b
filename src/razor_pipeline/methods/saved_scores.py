"""Scores and gradients as what crosses pipeline steps: a table, and tensors of the candidates alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core.components import parameter_names
from razor_pipeline.core.processes import world_size
from razor_pipeline.core.scoring import ComponentScore
from razor_pipeline.core.selection import selectable
from razor_pipeline.interfaces import ModelFamily, UnlearningTask
from razor_pipeline.methods.anchor import with_anchors
from razor_pipeline.methods.baseline import check_baseline
from razor_pipeline.methods.hardening import hardenable
from razor_pipeline.methods.scoring import Scored, score
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.params.razor import RazorParams

KINDS = ("forget", "retain", "covariance")
ScoringResult = tuple[pd.DataFrame, dict[str, Tensor], dict[str, Any]]


def scoring_result(
    model: ModelFamily, samples: pd.DataFrame, params: RazorParams, seed: int, anchors: Mapping[str, str]
) -> ScoringResult:
    """Scores of all components, the gradients of those that may be chosen, and what the pass took."""
    task = with_anchors(model, unlearning_task(samples), anchors)
    if params.harden is not None:
        hardenable(model, task)
    baseline = check_baseline(model, task, params.allow_no_baseline)
    scored = scored_candidates(model, task, params, torch.Generator().manual_seed(seed))
    gradients = candidate_gradients(model, scored, params)
    report = {"seconds": scored.seconds, "baseline": baseline, "world_size": world_size()}
    return score_table(scored), gradients, report


def scored_candidates(
    model: ModelFamily, task: UnlearningTask, params: RazorParams, generator: torch.Generator
) -> Scored:
    """The scoring pass before an edit whose budget is not known yet: it keeps what any budget might choose."""
    return score(
        model,
        task,
        params.scoring,
        generator,
        keep=lambda rows: candidates(rows, params),
        whitens=params.damping is not None,
    )


def score_table(scored: Scored) -> pd.DataFrame:
    """One row per component, highest score first."""
    return pd.DataFrame([asdict(row) for row in scored.rows])


def candidates(rows: Sequence[ComponentScore], params: RazorParams) -> set[str]:
    """Names of the components that a round may choose, whatever its budget."""
    return set(selectable(rows, params.components, params.tau, params.per_tower))


def candidate_gradients(model: ModelFamily, scored: Scored, params: RazorParams) -> dict[str, Tensor]:
    """``<kind>/<parameter>`` -> tensor for the candidates, so that the file stays small.

    Kinds: ``forget`` and ``retain`` gradients, ``covariance`` of the parameter's inputs.
    """
    best = candidates(scored.rows, params)
    names = parameter_names([c for c in model.components(params.scoring.granularity) if c.name in best])
    sources = dict(zip(KINDS, (scored.forget, scored.retain, scored.covariances), strict=True))
    return {
        f"{kind}/{name}": tensors[name].cpu()
        for kind, tensors in sources.items()
        for name in names
        if name in tensors
    }


def restore_scored(
    model: ModelFamily,
    table: pd.DataFrame,
    gradients: Mapping[str, Tensor],
    params: RazorParams,
    seconds: float,
) -> Scored:
    """The inverse of :func:`score_table` and :func:`candidate_gradients`, for the candidates."""
    parts = {
        kind: {
            k.removeprefix(f"{kind}/"): t.to(model.device)
            for k, t in gradients.items()
            if k.startswith(f"{kind}/")
        }
        for kind in KINDS
    }
    whole = {
        c.name
        for c in model.components(params.scoring.granularity)
        if all(name in parts["forget"] for name in parameter_names([c]))
    }
    records: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
    rows = [ComponentScore(**row) for row in records if row["component"] in whole]
    return Scored(rows, parts["forget"], parts["retain"], parts["covariance"], seconds)
