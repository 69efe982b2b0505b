"""Requests one after the other on one model: each starts from the last, and what was forgotten must stay so."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pandas as pd
from torch import Tensor

from razor_pipeline.core.weight_edit import applied
from razor_pipeline.families.drawing_exam import DrawingExam, looking_at
from razor_pipeline.families.judges import Drawings
from razor_pipeline.params.data import SplittingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.splitting import split_samples
from razor_pipeline.studies.drawing import Drawing
from razor_pipeline.studies.edits import edit


def forget_in_sequence(
    subject: Drawing,
    manifest: pd.DataFrame,
    targets: Sequence[str],
    splitting: SplittingParams,
    razor: RazorParams,
    seed: int,
) -> pd.DataFrame:
    """A row of figures per request; the model is as it was on exit.

    As on a line of requests, every edit names the earlier targets too, an anchor that is itself forgotten later is
    replaced, and anchors and what is kept are the unedited model's (decision 0025).

    Args:
        subject: the model and its judges.
        manifest: the image-caption manifest.
        targets: in the order of the requests.
        splitting: how samples are drawn.
        razor: of the method.
        seed: of the draws.

    Returns:
        ``step, target, ua`` (of the newest), ``ua_worst`` (of all so far), ``ira, cra, ira_drop, cra_drop,
        edited_fraction`` (of all weights, by all edits so far).
    """
    base = subject.base
    original = base.with_module(copy.deepcopy(base.module))
    parameters = dict(base.module.named_parameters())
    total = sum(parameter.numel() for parameter in parameters.values())
    requests = [
        split_samples(manifest, list(targets[:step]), splitting, seed) for step in range(1, len(targets) + 1)
    ]
    exams = [subject.exam(samples, subject.params.protocol) for samples in requests]
    before = [subject.drawn_once(exam, base, "base") for exam in exams]
    origin: dict[str, Tensor] = {}  # slice key -> its weights before the first edit of them
    edited: dict[str, Tensor] = {}  # and behind the last
    rows: list[dict[str, Any]] = []
    with ExitStack() as edits:
        for step, target in enumerate(targets, start=1):
            exam = exams[step - 1]
            # At the model as the earlier edits left it, so nothing that was seen before is taken for it.
            see = looking_at(base, requests[step - 1], subject.judges, subject.drawing)
            result = edit(base, requests[step - 1], razor, seed, see, original)
            edits.enter_context(applied(parameters, result.edit))
            origin, edited = result.edit.before | origin, edited | result.edit.after
            drawn = exam.put_to(base)
            rows.append({"step": step, "target": target, **_figures(exam, drawn, before[step - 1], target)})
            changed = sum(int((edited[key] != origin[key]).sum()) for key in origin)
            rows[-1]["edited_fraction"] = changed / total
    return pd.DataFrame(rows)


def _figures(exam: DrawingExam, drawn: Drawings, before: Drawings, target: str) -> dict[str, float]:
    recognised = exam.recognised(drawn)
    now, then = exam.mark(drawn, before), exam.mark(before, before)
    return {
        "ua": 1.0 - recognised[target].value,
        "ua_worst": 1.0 - max(one.value for one in recognised.values()),
        "ira": now["retain_accuracy"].value,
        "cra": now["general_accuracy"].value,
        "ira_drop": then["retain_accuracy"].value - now["retain_accuracy"].value,
        "cra_drop": then["general_accuracy"].value - now["general_accuracy"].value,
    }
