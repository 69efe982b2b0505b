"""RAZOR beside its peers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline.datasets.retrained import Retrained
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.data import SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.razor import AcceptanceParams, RazorParams
from razor_pipeline.params.studies import BenchmarkParams, ConceptsParams
from razor_pipeline.reporting.leaderboard import render_leaderboard
from razor_pipeline.studies.drawing import Drawing
from razor_pipeline.studies.leaderboard import leaderboard
from razor_pipeline.studies.run import Study, Subject
from razor_pipeline.studies.subjects import naming


def compare_methods(
    base_model: ModelFamily,
    manifest: pd.DataFrame,
    retrained_models: list[Retrained],
    judges: dict[str, Any],
    splitting: SplittingParams,
    razor: RazorParams,
    evaluation: EvaluationParams,
    benchmark: BenchmarkParams,
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """A row per method, target and seed, the leaderboard, and its page."""
    methods: dict[str, AcceptanceParams] = {
        "razor": razor,
        **{name: under_one_rule(peer, razor) for name, peer in dict(benchmark.peers).items()},
    }
    drawing = ConceptsParams(schemes=benchmark.schemes, protocol=evaluation.drawing.protocol)
    subject: Subject = (
        Drawing(base_model, judges, evaluation.drawing, drawing, retrained=retrained_models)
        if isinstance(base_model, TextToImageFamily)
        else naming(base_model, retrained_models, evaluation, benchmark)
    )
    study = Study("benchmark", subject, manifest, splitting, benchmark, keep_going=True)
    rows = study.run({name: methods[name] for name in benchmark.methods})
    table = leaderboard(rows)
    return rows, table, render_leaderboard(table, base_model.name)


def under_one_rule(peer: AcceptanceParams, razor: RazorParams) -> AcceptanceParams:
    """A peer's parameters with RAZOR's rule of choice, where they do not say one of their own."""
    rule = {name: getattr(razor, name) for name in AcceptanceParams.model_fields}
    return peer.model_copy(update={k: value for k, value in rule.items() if k not in peer.model_fields_set})
