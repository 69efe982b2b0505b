"""The lines that close a run or a training in the terminal; plain text where there is no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from razor_pipeline.reporting.verdict import HEADLINES, Kind
from razor_pipeline.reporting.wording import METRIC_NAMES, metric_text, percent, read_names

SHOWN = ("forget_accuracy", "retain_accuracy", "near_twin_accuracy", "general_accuracy", "membership_auc")
COLOURS = {
    Kind.FORGOTTEN: "blue",
    Kind.AT_A_COST: "yellow",
    Kind.NOT_FORGOTTEN: "red",
    Kind.NO_BASELINE: "white",
}


def print_closing(
    summary: Mapping[str, Any], report: Path | None, model: Path | None, console: Console
) -> None:
    """Print what came out: verdict, metrics before and after, the edit, and where the results lie.

    Args:
        summary: the run's flat summary.
        report: path of the page, None where it is not on disk.
        model: path of the edited model, likewise.
        console: where to; rich leaves colours out where it is no terminal.
    """
    kind = Kind(summary["verdict"])
    console.print(
        Text(f"{HEADLINES[kind]}: {', '.join(read_names(summary['target']))}", style=f"bold {COLOURS[kind]}")
    )
    console.print(_metrics(summary))
    judged = summary["has_reference"] or "edited_membership_auc" not in summary
    why = "no part of the verdict: the data names no class that the model never saw (data.reference_labels)"
    _print_lines([("AUC", None if judged else why)], console)
    _print_lines([("Edit", _edit(summary)), ("Report", report), ("Model", model)], console)


def print_training(report: Mapping[str, Any], model: Path | None, console: Console) -> None:
    """Print what a trained model knows, where it is one that names what it sees, and where it lies.

    Args:
        report: of the training (:func:`razor_pipeline.families.pretraining.pretraining_report`).
        model: path of the model, None where it is not on disk.
        console: where to; rich leaves colours out where it is no terminal.
    """
    console.print(Text(f"Trained on {report['images']} images in {report['seconds']:.0f} s", style="bold"))
    lines: list[tuple[str, object]] = [
        ("Names", f"{percent(share['value'])} of {share['n']} test images, by {name.replace('_', ' ')}")
        for name, share in report.get("zero_shot", {}).items()
    ]
    _print_lines([*lines, ("Model", model)], console)


def _print_lines(lines: Sequence[tuple[str, object]], console: Console) -> None:
    for name, value in lines:
        if value is not None:
            console.print(Text.assemble((f"{name:<8}", "bold"), str(value)), soft_wrap=True)


def _metrics(summary: Mapping[str, Any]) -> Table:
    schemes = _schemes(summary)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    drawn = "edited_blank_share" in summary
    table.add_column("in drawings" if drawn else "on test images", no_wrap=True)
    for name in ("base", "edited", *schemes):
        table.add_column(name, justify="right", no_wrap=True, style="bold" if name == "edited" else "")
    keys = ["base_{}", "edited_{}", *(f"quantized.{scheme}.edited_{{}}" for scheme in schemes)]
    for metric in SHOWN:
        if f"edited_{metric}" in summary:
            values = (summary.get(key.format(metric)) for key in keys)
            cells = ("" if value is None else metric_text(metric, value) for value in values)
            table.add_row(METRIC_NAMES[metric], *cells)
    return table


def _schemes(summary: Mapping[str, Any]) -> list[str]:
    found = [
        key.split(".")[1]
        for key in summary
        if key.startswith("quantized.") and key.endswith("edited_forget_accuracy")
    ]
    return list(dict.fromkeys(found))


def _edit(summary: Mapping[str, Any]) -> str:
    rounds = f"{summary['rounds']} round{'' if summary['rounds'] == 1 else 's'}"
    seconds = summary["score_seconds"] + summary["edit_seconds"]
    hardened = summary["components_hardened"]
    beside = f" and {hardened} of the denoiser's body" if hardened else ""
    return (
        f"{summary['components_edited']} of {summary['components_total']} components{beside}, "
        f"{percent(summary['edited_fraction'])} of weights, {summary['delta_mb']:.1f} MB, "
        f"{rounds}, {seconds:.0f} s, {summary['stop_reason']}"
    )
