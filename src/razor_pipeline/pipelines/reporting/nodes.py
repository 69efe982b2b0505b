"""Tell people what a run did."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.params.evaluation import ReportingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.reporting.curve import search_curve
from razor_pipeline.reporting.heatmap import score_heatmap
from razor_pipeline.reporting.page import render_report
from razor_pipeline.reporting.panels import cards, image_panel
from razor_pipeline.reporting.record import RunRecord
from razor_pipeline.reporting.summary import flat_summary
from razor_pipeline.reporting.verdict import judge


def draw_figures(
    component_scores: pd.DataFrame,
    edit_trace: pd.DataFrame,
    edit_report: dict[str, Any],
    predictions: pd.DataFrame,
    samples: pd.DataFrame,
    razor: RazorParams,
) -> tuple[bytes, bytes, bytes]:
    """Heat map of scores, step search and image panel, as PNG."""
    return (
        score_heatmap(component_scores, edit_report["components"]),
        search_curve(edit_trace, razor),
        image_panel(cards(samples, predictions)),
    )


def summarise(weight_edit: WeightEdit, reporting: ReportingParams, **outputs: Any) -> dict[str, Any]:
    """The run in one flat dictionary."""
    run = RunRecord.of(weight_edit, **outputs)
    return flat_summary(run, judge(run, reporting))


def write_report(
    weight_edit: WeightEdit, reporting: ReportingParams, razor: RazorParams, **outputs: Any
) -> str:
    """The page of the run."""
    run = RunRecord.of(weight_edit, **outputs)
    return render_report(run, judge(run, reporting), razor)
