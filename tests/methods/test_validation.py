"""What a step search sees, beside the same figures made of every score of every image."""

from statistics import fmean

import pandas as pd
import pytest
import torch

from razor_pipeline.core.metrics import auc
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.methods.validation import Validation
from razor_pipeline.splitting import SplittingParams, split_samples

TARGETS = ("Greta Novak", "Ada Moreau")


@pytest.fixture
def asked(clip, monkeypatch):
    """(images, prompts) of every call."""
    calls, scores = [], clip.scores

    def counted(batches, prompts):
        found = scores(batches, prompts)
        calls.append(tuple(found.shape))
        return found

    monkeypatch.setattr(clip, "scores", counted)
    return calls


@pytest.fixture
def task(manifest):
    params = SplittingParams(max_retain_samples=64, max_validation_samples=60)
    return unlearning_task(split_samples(manifest, list(TARGETS), params, 0))


def test_never_seen_images_are_asked_for_the_targets_alone(clip, task, asked):
    outcome = Validation(clip, task)()
    assert list(outcome.right.index) == list(task.retain_validation["label"])
    by_class = [own.mean() for _, own in outcome.right.groupby(level=0)]
    assert outcome.retain_accuracy == pytest.approx(fmean(by_class))
    own = len(task.forget[0].validation) + len(task.forget[1].validation)
    strangers = len(task.forget[0].reference)
    assert asked == [(len(task.retain_validation) + own, len(task.prompts)), (strangers, len(TARGETS))]
    assert strangers
    for forget, seen, reference_R in zip(task.forget, outcome.aucs, outcome.reference, strict=True):
        rows = pd.concat([forget.validation, forget.reference], ignore_index=True)
        known_N = clip.scores(clip.batches(rows, 64), [forget.prompt])[:, 0]
        count = len(forget.validation)
        assert torch.allclose(reference_R, known_N[count:], atol=1e-6)
        assert seen == pytest.approx(auc(known_N[:count].numpy(), known_N[count:].numpy()), abs=0.02)


def test_where_nobody_was_never_seen_each_image_is_looked_at_once(clip, manifest, asked):
    """The other classes stand for strangers, and are among what is kept."""
    known = manifest[manifest["role"] != "reference"]
    task = unlearning_task(split_samples(known, TARGETS[0], SplittingParams(max_validation_samples=60), 0))
    [forget] = task.forget
    validation = Validation(clip, task)
    outcome = validation()
    assert asked == [(len(task.retain_validation) + len(forget.validation), len(task.prompts))]
    alone = validation.reference_ties(forget, [forget.prompt])[:, 0]
    assert torch.allclose(outcome.reference[0], alone, atol=1e-6)
    assert len(outcome.reference[0]) == len(task.retain_validation)
    assert outcome.aucs[0] > 0.9  # control: it is known


def test_a_target_is_told_from_all_names_though_a_sample_leaves_some_out(clip, manifest):
    """As of a thousand classes of which a few hundred rows are drawn."""
    params = SplittingParams(max_retain_samples=8, max_validation_samples=8)
    samples = split_samples(manifest, TARGETS[0], params, 0)
    own = samples[(samples["domain"] == "portraits") & (samples["role"] != "reference")]
    task = unlearning_task(samples)
    assert set(task.prompts) == set(own["label"])
    assert set(own.loc[own["split"] != "test", "label"]) < set(task.prompts)  # control: some are left out
    outcome = Validation(clip, task)()
    assert outcome.aucs[0] > 0.9
