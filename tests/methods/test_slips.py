"""Misspelt names: an edit that looks at some leads others nowhere too."""

from dataclasses import replace
from itertools import product
from statistics import fmean

import pytest
import torch

from razor_pipeline.core import losses
from razor_pipeline.core.attacks.prompts import misspellings
from razor_pipeline.core.metrics import auc
from razor_pipeline.core.weight_edit import applied
from razor_pipeline.methods.held import one_batch
from razor_pipeline.methods.razor import razor
from razor_pipeline.methods.slips import Slips
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.methods.validation import Validation
from razor_pipeline.params.data import SplittingParams
from razor_pipeline.splitting import split_samples

from .conftest import QUICK

SIZES = SplittingParams(max_retain_samples=192, max_validation_samples=96)


@pytest.fixture
def task(samples):
    return unlearning_task(samples)


@pytest.fixture
def leaves(clip):
    return {"text_projection.weight": dict(clip.module.named_parameters())["text_projection.weight"]}


def slips(clip, task, count, seed=0):
    return Slips(clip, task, Validation(clip, task), count, 0.45, torch.Generator().manual_seed(seed))


def told(clip, task):
    """AUC of telling the target's unseen images from strangers' by each slip of the attack."""
    [forget] = task.forget
    forms = misspellings(forget.prompt.replace(forget.target, "{name}")).values()
    prompts = [form(forget.target) for form in forms]
    known, unknown = (
        clip.scores(clip.batches(rows, 64), prompts) for rows in (forget.validation, forget.reference)
    )
    return [auc(known[:, k].numpy(), unknown[:, k].numpy()) for k in range(len(prompts))]


def edited(clip, task, count, seed):
    repair = QUICK.repair.model_copy(update={"slips": count, "steps": 8})
    result = razor(
        clip, task, QUICK.model_copy(update={"repair": repair}), torch.Generator().manual_seed(seed)
    )
    return applied(dict(clip.module.named_parameters()), result.edit)


def test_slips_that_the_edit_never_saw_lead_nowhere(clip, manifest):
    """Kofi Mensah is one whom the base model knows by half of his name; of one draw of a few names chance decides."""
    task = unlearning_task(split_samples(manifest, "Kofi Mensah", SIZES, 0))
    left = {0: [], 24: []}
    for count, seed in product(left, (0, 1)):
        with edited(clip, task, count, seed):
            left[count] += told(clip, task)
    assert fmean(left[24]) < 0.5 < 0.65 < fmean(left[0])  # control: where it looks at none


def test_the_loss_is_the_mean_gap_of_all_images_under_each_name(clip, task, leaves):
    asked = slips(clip, task, 4)
    [forget] = task.forget
    [found] = asked.closing_in(leaves)
    again = slips(clip, task, 4)._draw(forget)
    known, gaps = clip.ties(again.batch), []
    assert known.shape == (4, 4)
    for place in range(4):
        goal = losses.shifted_to_auc(again.reference_RB[:, place], 0.45)
        gaps.append(losses.calibration(known[:, place], goal))
    assert found.loss == pytest.approx(float(torch.stack(gaps).mean()), rel=1e-5)
    assert found.tensors["text_projection.weight"].abs().sum() > 0


def test_each_time_other_names_and_other_images_are_looked_at(clip, task):
    asked, seen = slips(clip, task, 4), []
    [forget] = task.forget
    for turn in range(2):
        asked.asked = turn
        seen.append(asked._draw(forget).batch)
    assert not torch.equal(seen[0].pixel_values_B3HW, seen[1].pixel_values_B3HW)
    assert seen[0].input_ids_BT.tolist() != seen[1].input_ids_BT.tolist()


def test_never_seen_samples_are_asked_at_the_weights_as_they_are(clip, task, leaves):
    validation = Validation(clip, task)
    [forget] = task.forget
    [forget_prompt] = [forget.prompt]
    before = validation.reference_ties(forget, [forget_prompt])
    reference = one_batch(clip, forget.reference)
    assert torch.allclose(before[:, 0], clip.knowledge(reference), atol=1e-5)
    with torch.no_grad():
        leaves["text_projection.weight"].mul_(-1.0)
    assert torch.allclose(validation.reference_ties(forget, [forget_prompt]), -before, atol=1e-5)


@pytest.mark.parametrize("named", [{"prompt": "somebody"}, {"target": "7", "prompt": "a photo of a 7"}])
def test_a_prompt_without_a_name_of_letters_has_no_slips(clip, task, leaves, named):
    [forget] = task.forget
    assert slips(clip, task, 4).closing_in(leaves)  # control
    renamed = replace(forget, **named)
    other = replace(task, forget=(renamed,), prompts=task.prompts | {renamed.target: (renamed.prompt,)})
    assert slips(clip, other, 4).closing_in(leaves) == []
