"""robustness.html: what every attack brought back from every model, and the recovery curves; self-contained."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from razor_pipeline.reporting.drawing import FONT, LIGHT, Theme, dress, new_figure, png, themed
from razor_pipeline.reporting.templates import template
from razor_pipeline.studies.attack_summary import MODELS, Summary, curves, recovered
from razor_pipeline.studies.tables import interval_text

MODEL_NAMES = {
    "base": "base",
    "edited": "edited",
    "retrained": "retrained",
    "masked": "control: logit masked",
    "last_layer": "control: last layer edited",
}
ATTACKS = {
    "none": "no attack",
    "relearn_1": "relearning from 1 image (area)",
    "relearn_4": "relearning from 4 images (area)",
    "relearn_16": "relearning from 16 images (area)",
    "tune_edited": "tuning the edited weights alone (area)",
    "benign": "benign fine-tuning on others (highest point)",
    "scaled_back": "up to 75 % of the edit undone (highest point)",
    "membership": "membership inference (advantage)",
    "probe": "linear probe on frozen features",
    "paraphrase": "paraphrases (strongest)",
    "misspelling": "misspellings (strongest)",
    "name_part": "parts of the name (strongest)",
    "description": "description without the name (strongest)",
    "inversion": "embedding inversion",
    "int8": "int8",
    "int4": "int4",
    "nf4": "nf4",
}
# What is asked of the edited model: figure of the table, its limit, in words. Shares, but PrivLeak, in points.
ASKED = (
    (
        "relearn_1_over_retrained",
        1.25,
        "relearning from 1 image: area over the retrained model's, at most 1.25",
    ),
    (
        "relearn_4_over_retrained",
        1.25,
        "relearning from 4 images: area over the retrained model's, at most 1.25",
    ),
    (
        "relearn_16_over_retrained",
        1.25,
        "relearning from 16 images: area over the retrained model's, at most 1.25",
    ),
    ("edited_absolute_leakage", 5.0, "|PrivLeak| of the strongest score, at most 5"),
    ("probe_beyond_retrained", 0.05, "linear probe beyond the retrained model's, at most 0.05 either way"),
    ("description_beyond_retrained", 0.05, "description beyond the retrained model's, at most 0.05"),
)
CURVES = {
    "relearn_1": "Relearning, 1 image",
    "relearn_4": "Relearning, 4 images",
    "relearn_16": "Relearning, 16 images",
    "tune_edited": "Edited weights alone",
    "benign": "Benign fine-tuning",
    "scaled_back": "Edit scaled back",
}
STYLES: dict[str, tuple[str, str]] = {
    "base": ("muted", "-"),
    "edited": ("accent", "-"),
    "retrained": ("good", "-"),
    "masked": ("muted", ":"),
    "last_layer": ("muted", "--"),
}


def render_robustness(findings: pd.DataFrame, table: Summary) -> str:
    """The page.

    Args:
        findings: from :func:`razor_pipeline.studies.attack_summary.long_table`.
        table: from :func:`razor_pipeline.studies.attack_summary.attack_summary`.
    """
    models = [model for model in MODELS if f"{model}_none" in table]
    return template("robustness.html.j2").render(
        models=[MODEL_NAMES[model] for model in models],
        rows=[
            _row(attack, text, models, table)
            for attack, text in _attacks(table).items()
            if f"edited_{attack}" in table
        ],
        asked=[_asked(*line, table) for line in ASKED if line[0] in table],
        figure=themed(lambda theme: recovery_figure(findings, theme)),
        targets=findings["target"].nunique(),
        seeds=findings["seed"].nunique(),
        images=int(findings["images"].iloc[0]),
    )


def _attacks(table: Summary) -> dict[str, str]:
    """Attack -> what it is called; numbers of images that are not the default are named in the same way."""
    found = [name.removeprefix("base_") for name in table if name.startswith("base_relearn_")]
    counts = sorted((int(name.rpartition("_")[2]), name) for name in found)
    extra = {name: f"relearning from {count} images (area)" for count, name in counts}
    return {"none": ATTACKS["none"]} | extra | ATTACKS


def _row(attack: str, text: str, models: list[str], table: Summary) -> dict[str, Any]:
    cells = []
    for model in models:
        found = table.get(f"{model}_{attack}")
        cells.append(
            {"text": "", "interval": ""}
            if found is None
            else {
                "text": f"{100 * found['mean']:.1f} %",
                "interval": f"{interval_text(found, lambda x: f'{100 * x:.1f}')}, n = {found['n']}",
            }
        )
    controls = [MODEL_NAMES[name].removeprefix("control: ") for name in recovered(table, attack)]
    return {"attack": text, "cells": cells, "recovers": controls if attack != "none" else None}


def _asked(name: str, limit: float, text: str, table: Summary) -> dict[str, Any]:
    found = table[name]
    mean = found["mean"]
    return {
        "text": text,
        "mean": _figure(mean),
        "interval": f"{interval_text(found, _figure)}, n = {found['n']}",
        "worst": _figure(found["worst"]),
        "met": mean is not None and (mean if "description" in name else abs(mean)) <= limit,
    }


def _figure(value: float | None) -> str:
    """A quotient by a model on which nothing comes back has no bound."""
    return "no bound" if value is None else f"{value:.3f}"


def recovery_figure(findings: pd.DataFrame, theme: Theme = LIGHT) -> bytes:
    """Recovery against steps, a panel per attack, a line per model; means with 95 % intervals over targets and seeds.

    Returns:
        A PNG.
    """
    shown = [attack for attack in CURVES if (findings["attack"] == attack).any()]
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    figure = new_figure(3.7 * columns, 2.9 * lines + 0.5, theme)
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes, attack in zip(panels, shown, strict=False):
        _panel(axes, findings, attack, theme)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(labels),
        frameon=False,
        labelcolor=theme.ink,
        prop={"family": FONT, "size": 9},
    )
    return png(figure)


def _panel(axes: Axes, findings: pd.DataFrame, attack: str, theme: Theme) -> None:
    steps = "share of the edit undone" if attack == "scaled_back" else "steps"
    dress(axes, theme, CURVES[attack], steps, "target recognised (%)")
    for model, points in curves(findings, attack).items():
        colour, line = getattr(theme, STYLES[model][0]), STYLES[model][1]
        x = [float(step) for step in points]
        shares = pd.DataFrame(points.values(), columns=["mean", "low", "high"], dtype=float)  # None: NaN
        mean, low, high = (100.0 * shares[key] for key in shares)
        axes.plot(x, mean, line, color=colour, linewidth=1.8, label=MODEL_NAMES[model])
        if model in ("edited", "retrained"):
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_ylim(-3.0, 103.0)
    axes.grid(axis="y", color=theme.line, linewidth=0.8)
