"""Attack edited models, and those that they are compared with."""

from __future__ import annotations

import pandas as pd

from razor_pipeline.datasets.retrained import Retrained
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.data import SplittingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import RobustnessParams
from razor_pipeline.reporting.robustness import recovery_figure, render_robustness
from razor_pipeline.studies.attack_summary import Summary, as_lines, attack_summary, headlines, long_table
from razor_pipeline.studies.robustness import Robustness
from razor_pipeline.studies.run import Study


def attack_models(
    base_model: ModelFamily,
    manifest: pd.DataFrame,
    retrained_models: list[Retrained],
    splitting: SplittingParams,
    razor: RazorParams,
    robustness: RobustnessParams,
) -> tuple[pd.DataFrame, Summary, str]:
    """A row per target, seed, model, attack, variant and step; the attacks in short; the same as text."""
    subject = Robustness(base_model, retrained_models, robustness)
    rows = Study("robustness", subject, manifest, splitting, robustness).run({"razor": razor})
    findings = long_table(rows)
    table = attack_summary(headlines(findings))
    return findings, table, as_lines(f"Attacks, {base_model.name}: what came back", table)


def show_attacks(findings: pd.DataFrame, table: Summary) -> tuple[bytes, str]:
    """The recovery curves, and the page."""
    return recovery_figure(findings), render_robustness(findings, table)
