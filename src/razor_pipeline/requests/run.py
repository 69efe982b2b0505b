"""The step of the `requests` pipeline: run what is due, then write down how the line stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import mlflow
import pandas as pd
from sqlalchemy import select

from razor_pipeline.core.quantize import Scheme
from razor_pipeline.families.vit import VitFamily
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.data import DataParams, SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.requests import audit
from razor_pipeline.requests.batch import run_batch
from razor_pipeline.requests.dashboard import render_dashboard
from razor_pipeline.requests.forgetting import Protocol
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.places import ANCHORS, DASHBOARD, open_ledger, own
from razor_pipeline.requests.registry import Registry
from razor_pipeline.requests.tables import Version
from razor_pipeline.requests.takeout import take_out
from razor_pipeline.requests.workplace import Workplace

COLUMNS = ("number", "parent", "request", "retain_accuracy", "weights", "registered")


def run_due(
    base: ModelFamily,
    manifest: pd.DataFrame,
    params: RequestsParams,
    data: DataParams,
    splitting: SplittingParams,
    razor: RazorParams,
    schemes: Sequence[Scheme],
    evaluation: EvaluationParams,
    judges: Mapping[str, VitFamily],
    seed: int,
) -> tuple[pd.DataFrame, str]:
    """Run what is due, or take out what ``requests.take_out`` names.

    Returns:
        The versions of the line, and the dashboard.

    Raises:
        ValueError: the line cannot be worked on; see :func:`run_batch` and :func:`take_out`.
        RuntimeError: another process works on it.
    """
    ledger = open_ledger(params)
    own(ledger, params)
    registry = Registry(mlflow.get_tracking_uri(), Path.cwd())
    protocol = Protocol(splitting, razor, seed)
    place = Workplace(ledger, params, base, manifest, data, protocol, schemes, evaluation, judges, registry)
    try:
        if params.take_out:
            take_out(place, params.take_out, params.actor)
        else:
            run_batch(place)
    finally:  # what was promoted before a fault is vouched for as well
        own(ledger, params)  # the base model may have been noted in its first line
        audit.write_anchor(Path(params.reports) / ANCHORS, *ledger.head())
    page = Path(params.reports) / DASHBOARD
    return versions(ledger, params.model), render_dashboard(ledger, page, Path(params.folder))


def versions(ledger: Ledger, model: str) -> pd.DataFrame:
    """A row per version of a line."""
    with ledger.reading() as session:
        found = session.scalars(select(Version).where(Version.model == model).order_by(Version.number))
        return pd.DataFrame(
            [{name: getattr(v, name) for name in COLUMNS} for v in found], columns=list(COLUMNS)
        )
