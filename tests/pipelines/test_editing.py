"""The editing step: what it says of an edit is of that edit alone."""

from __future__ import annotations

import resource
import sys

import numpy as np
from families.cases import tiny_clip
from methods.test_processes import PARAMS, few_samples

from razor_pipeline.methods.saved_scores import scoring_result
from razor_pipeline.pipelines.editing.nodes import edit_model

UNIT = 1e6 if sys.platform == "darwin" else 1e6 / 1024  # of ru_maxrss: bytes there, KiB on Linux


def test_memory_that_was_held_before_the_edit_is_none_of_its_own():
    model, samples = tiny_clip(), few_samples()
    table, gradients, scoring = scoring_result(model, samples, PARAMS, 0, {})
    held = np.ones(75_000_000)  # 600 MB, given back before the edit
    del held
    _, _, report = edit_model(model, samples, table, gradients, scoring, {}, PARAMS, 0)
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / UNIT
    assert 100.0 < report["peak_rss_mb"] < highest - 300.0
