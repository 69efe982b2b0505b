"""report.html: one self-contained page, readable on a phone and in the dark; it runs and loads nothing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from razor_pipeline import __version__
from razor_pipeline.fingerprint import environment, plain
from razor_pipeline.params.base import without_passwords
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.reporting import wording
from razor_pipeline.reporting.curve import search_curve
from razor_pipeline.reporting.figures import DARK, LIGHT, Theme
from razor_pipeline.reporting.heatmap import score_heatmap
from razor_pipeline.reporting.panels import GROUP_NOTES, GROUPS, cards
from razor_pipeline.reporting.record import MEGABYTE, RunRecord
from razor_pipeline.reporting.templates import template
from razor_pipeline.reporting.verdict import Verdict
from razor_pipeline.runtime_params import TARGETS

Draw = Callable[[Theme, bool], bytes]


def render_report(run: RunRecord, verdict: Verdict, razor: RazorParams) -> str:
    """The page of one run.

    Args:
        run: its outputs.
        verdict: what :func:`razor_pipeline.reporting.verdict.judge` made of them.
        razor: goal and tolerance, drawn in the curve.
    """
    edited = list(run.edit_report["components"])
    figures = {
        "heatmap": _variants(
            lambda theme, narrow: score_heatmap(run.component_scores, edited, theme, narrow)
        ),
        "curve": _variants(lambda theme, narrow: search_curve(run.edit_trace, razor, theme, narrow)),
    }
    return template("report.html.j2", percent=wording.percent).render(
        run=run,
        report=run.edit_report,
        verdict=verdict,
        who=wording.and_list(run.targets),
        asked=_asked(run),
        tiles=_tiles(run),
        columns=_columns(run),
        rows=_metric_rows(run),
        figures=figures,
        groups=_groups(run),
        edited_rows=_edited_rows(run),
        edit=_edit_facts(run, razor),
        auc_line=wording.AUC_IN_A_LINE if run.has_reference else wording.WEAKER_AUC_IN_A_LINE,
        command=without_passwords(reproduction_command(run)),
        versions={"razor_pipeline": __version__, **environment()},
        parameters=without_passwords(json.dumps(run.parameters, indent=2, ensure_ascii=False, default=plain)),
    )


def reproduction_command(run: RunRecord) -> str:
    """The shell command that makes the same run again: its environment, and every parameter that it was given.

    What holds a comma, at which ``--params`` separates, is said in a comment, but for a target, which may hold some
    where it is no list.
    """
    invocation = run.parameters.get("invocation") or {}
    env = f" --env {shlex.quote(invocation['env'])}" if invocation.get("env") else ""
    given = {"target": list(run.targets), "seed": run.seed} | _dotted(invocation.get("params") or {})
    said = {key: _said(key, value) for key, value in given.items()}
    listed = {key for key, value in said.items() if _names(key) and value.startswith('["')}
    cut = {key for key, value in said.items() if "," in value and (key in listed or not _names(key))}
    params = ",".join(f"{key}={value}" for key, value in said.items() if key not in cut)
    apart = "; ".join(
        f"{key}: {said[key] if key in listed else json.dumps(said[key])}" for key in said if key in cut
    )
    note = f"  # and in parameters.yml, for --params separates at commas: {apart}" if apart else ""
    return f"kedro run{env} --params {shlex.quote(params)}{note}"


def _dotted(params: Mapping[str, Any], root: str = "") -> dict[str, Any]:
    """``{"razor.tau": 1}`` for ``{"razor": {"tau": 1}}``."""
    found: dict[str, Any] = {}
    for key, value in params.items():
        group = isinstance(value, Mapping) and value  # an empty one is a value
        found |= _dotted(value, f"{root}{key}.") if group else {f"{root}{key}": value}
    return found


def _names(key: str) -> bool:
    return key.rpartition(".")[2] in TARGETS


def _said(key: str, value: Any) -> str:
    """A value as ``--params`` takes it: several in a list as ``a|b``, one as ``[a]``; names as :func:`said_names`."""
    if isinstance(value, list | tuple):
        if value and _names(key):
            return wording.said_names(list(map(str, value)))
        several = "|".join(map(str, value))
        return several if len(value) > 1 else f"[{several}]"
    return value if isinstance(value, str) else json.dumps(value)


def _variants(draw: Draw) -> dict[str, bytes]:
    """One figure for light and dark, wide and narrow screens."""
    return {
        "light": draw(LIGHT, False),
        "dark": draw(DARK, False),
        "light_narrow": draw(LIGHT, True),
        "dark_narrow": draw(DARK, True),
    }


def _asked(run: RunRecord) -> list[tuple[str, str]]:
    """What was asked, of which model, with which data."""
    base = run.manifest.get("base_model") or {}
    revision = f", revision {base['revision']}" if base.get("revision") else ""
    forget, retain = (run.samples[run.samples["role"] == role] for role in ("forget", "retain"))
    kind = retain[retain["domain"].isin(set(forget["domain"]))]
    counts = {split: int((forget["split"] == split).sum()) for split in ("edit", "validation", "test")}
    return [
        ("Forget", wording.and_list(run.targets)),
        *(
            ("Anchor", f"prompts for {target} now mean what “{anchor}” and its like mean")
            for target, anchor in run.manifest.get("anchors", {}).items()
        ),
        (
            "Keep",
            f"{kind['label'].nunique()} others of its kind; {retain['prompt'].nunique()} prompts in all",
        ),
        *((("Drawings", _protocol(run)),) if run.draws else ()),
        ("Base model", f"{base.get('id') or 'not recorded'}{revision}"),
        ("Base sha256", str(base.get("sha256") or "not recorded")),
        ("Method", str(run.manifest.get("method", "not recorded"))),
        ("Scenario, seed", f"{run.scenario}, {run.seed}"),
        (
            "Target images",
            f"{counts['edit']} to edit, {counts['validation']} to choose the step, {counts['test']} to test",
        ),
        ("Retain images", f"{len(retain)}, of which {int((retain['split'] == 'test').sum())} to test"),
    ]


def _protocol(run: RunRecord) -> str:
    """Which prompts and seeds the drawings are of, by the name of their protocol."""
    asked = EvaluationParams.model_validate(run.parameters.get("evaluation") or {}).drawing.protocol
    counts = run.metrics.loc[run.metrics["metric"] == "blank_share", "n"]
    return f"{asked} protocol, {int(counts.max()) if len(counts) else 0} of each model"


def _tiles(run: RunRecord) -> list[dict[str, Any]]:
    """The four figures that matter most, before and after."""
    found = []
    for metric, wanted in (
        ("forget_accuracy", "lower is better"),
        ("retain_accuracy", "as before is best"),
        ("near_twin_accuracy", "as before is best"),
        ("general_accuracy", "as before is best"),
        ("membership_auc", "0.50 is best" if run.has_reference else "no part of the verdict"),
    ):
        base, edited = run.estimate("base", metric), run.estimate("edited", metric)
        if base is None or edited is None:
            continue
        bars = [
            {"name": name, "text": wording.metric_text(metric, e["value"]), **e}
            for name, e in (("base", base), ("edited", edited))
        ]
        found.append({"name": _words(run)[0][metric], "wanted": wanted, "bars": bars})
    return found


def _columns(run: RunRecord) -> list[tuple[str, str]]:
    """Model key and heading of each column of the metrics table."""
    quantized = [(f"{s}_{state}", f"{s}, {state}") for s in run.schemes for state in ("base", "edited")]
    return [("base", "base"), ("edited", "edited"), *quantized]


def _metric_rows(run: RunRecord) -> list[dict[str, Any]]:
    rows = []
    for metric in wording.METRICS:
        counts = run.metrics.loc[run.metrics["metric"] == metric, "n"]
        if not counts.empty:
            cells = [_cell(run, model, heading, metric) for model, heading in _columns(run)]
            names, notes = _words(run)
            name, note = names[metric], notes.get(metric, "")
            rows.append({"name": name, "note": note, "cells": cells, "n": int(counts.max())})
    return rows


def _words(run: RunRecord) -> tuple[dict[str, str], dict[str, str]]:
    """Names and notes of the metrics for a model that names, draws or answers."""
    notes = wording.METRIC_NOTES | ({} if run.has_reference else wording.WITHOUT_REFERENCE_NOTES)
    if run.draws:
        return wording.METRIC_NAMES | wording.DRAWN_NAMES, notes | wording.DRAWN_NOTES
    if run.answers:
        return wording.METRIC_NAMES | wording.ANSWERED_NAMES, notes | wording.ANSWERED_NOTES
    return wording.METRIC_NAMES, notes


def _cell(run: RunRecord, model: str, heading: str, metric: str) -> dict[str, str]:
    found = run.estimate(model, metric)
    if found is None:
        return {"heading": heading, "value": "", "interval": ""}
    interval = wording.interval_text(metric, found["low"], found["high"])
    return {"heading": heading, "value": wording.metric_text(metric, found["value"]), "interval": interval}


def _groups(run: RunRecord) -> list[dict[str, Any]]:
    found = cards(run.samples, run.predictions)
    return [
        {"title": title, "note": GROUP_NOTES[key], "cards": [card for card in found if card.group == key]}
        for key, title in GROUPS.items()
        if any(card.group == key for card in found)
    ]


def _edited_rows(run: RunRecord) -> list[dict[str, Any]]:
    table = run.component_scores.set_index("component", drop=False)
    return [dict(table.loc[name]) for name in run.edit_report["components"] if name in table.index]


def _edit_facts(run: RunRecord, razor: RazorParams) -> dict[str, Any]:
    report, trace = run.edit_report, run.edit_trace
    reason = str(report["stop_reason"])
    return {
        "share": report["weights_edited"] / report["weights_total"],
        "delta_mb": run.delta_bytes / MEGABYTE,
        "reason": wording.STOP_REASONS.get(reason, reason),
        "searched": int((trace["stage"] == "search").sum()),
        "corrective": int((trace["stage"] == "repair").sum()),
        "hardening": int((trace["stage"] == "harden").sum()),
        "taken_back": bool((trace["stage"] == "taken_back").any()),
        "goal": razor.search.goal,
        "measure": razor.search.measure,
        "bins": [_scheme_text(row) for row in run.quantization.to_dict("records")],
    }


def _scheme_text(row: dict[Any, Any]) -> tuple[str, str]:
    """What a quantization scheme did to the edit; nf4 has no even bins to count."""
    size, share = f"{row['mb']:.1f} MB", row["changed_bin_share"]
    if share is None or share != share:
        return str(row["scheme"]), size
    return str(
        row["scheme"]
    ), f"{size}; {wording.percent(share)} of the edited weights stay more than half a step from the base's"
