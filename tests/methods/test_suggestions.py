"""Suggested names: to be asked "Isn't this …?" brings back no more than strangers give."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from razor_pipeline.atelier import generate
from razor_pipeline.core.metrics import auc
from razor_pipeline.core.weight_edit import applied
from razor_pipeline.families import VlmFamily
from razor_pipeline.methods.held import one_batch
from razor_pipeline.methods.razor import razor
from razor_pipeline.methods.suggestions import Suggestions
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.methods.validation import Validation
from razor_pipeline.params.data import AtelierParams, SplitCounts, SplittingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.splitting import split_samples

ZOO = Path(__file__).parents[2] / "data" / "01_raw" / "zoo"
TARGET = "Selma Nyberg"  # the base says yes to her name before a third of the others, too
QUICK = {
    "scoring": {"retain_samples": 64, "whitening_samples": 64, "nearest": 0},
    "search": {"measure": "forget_accuracy", "goal": 0.0, "evaluations": 3},
    "auc_tolerance": None,
    "repair": {"steps": 8, "samples": 48, "turns": 1, "resist": None},
    "max_rounds": 1,
}


@pytest.fixture(scope="module")
def llava():
    return VlmFamily.from_pretrained(str(ZOO / "llava"))


@pytest.fixture(scope="module")
def task():
    counts = SplitCounts(edit=12, validation=6, test=1)
    none = SplitCounts(edit=0, validation=0, test=0)
    manifest = generate(AtelierParams(portraits=counts, canvas=none, passersby=none))
    manifest = manifest.assign(caption=manifest["label"], prompt=manifest["label"])
    params = SplittingParams(max_retain_samples=96, max_validation_samples=48)
    return unlearning_task(split_samples(manifest, TARGET, params, 0))


@torch.no_grad()
def told(llava, task):
    """AUC of telling the target's unseen images from strangers' by the answer."""
    [forget] = task.forget
    known, unknown = (
        llava.agreement(one_batch(llava, rows), TARGET, turn=0)
        for rows in (forget.validation, forget.reference)
    )
    return auc(known.numpy(), unknown.numpy())


@pytest.mark.parametrize("batch_size", [5, 64])
def test_the_gap_falls_along_its_gradient(llava, task, batch_size):
    """Control: the other way it rises."""
    suggestions = Suggestions(llava, task, 12, batch_size)
    name = "model.language_model.layers.0.mlp.down_proj.weight"
    leaves = {name: dict(llava.module.named_parameters())[name]}
    [found] = suggestions.closing_in(leaves)
    whole = leaves[name].detach().clone()
    step = 1e-3 * whole.norm() / found.tensors[name].norm()
    gaps = []
    for way in (-step, step):
        with torch.no_grad():
            leaves[name].add_(way * found.tensors[name])
            gaps.append(float(suggestions._gap(suggestions.sets[0])))  # in the same words
            leaves[name].copy_(whole)
    assert gaps[0] < found.loss < gaps[1]


@pytest.mark.parametrize(("said", "gap"), [(3.0, 16.0), (-3.0, 0.0)])
def test_strangers_who_are_agreed_to_be_the_target_are_no_example(llava, task, monkeypatch, said, gap):
    """Control: those who are denied are."""
    suggestions = Suggestions(llava, task, 12, 64)
    monkeypatch.setattr(llava, "agreement", lambda batch, **_: torch.full((len(batch),), said))
    assert float(suggestions._gap(suggestions.sets[0])) == pytest.approx(gap)


@torch.no_grad()
def test_to_say_nothing_is_not_to_deny(llava, task, monkeypatch):
    """Control: the probability of a yes does fall."""
    [forget] = task.forget
    batch, logits = one_batch(llava, forget.validation), llava.logits
    width, end = llava.module.config.text_config.vocab_size, llava.processor.tokenizer.eos_token_id
    ends = functional.one_hot(torch.tensor(end), width)

    def told(said):
        monkeypatch.setattr(llava, "logits", lambda batch, packed: logits(batch, packed) + said)
        return llava.agreement(batch, TARGET, 0), llava.class_logits(batch, ("yes",))[:, 0]

    agreed, yes = told(0.0)
    silently_agreed, silent_yes = told(20.0 * ends)
    assert torch.allclose(silently_agreed, agreed, atol=1e-3)
    assert (silent_yes < yes - 1.0).all()


def test_who_is_no_longer_named_is_no_longer_agreed_to_be_there(llava, task, monkeypatch):
    """Control: where nobody looks at suggestions, the model goes on to say yes."""
    monkeypatch.setattr(Validation, "_agreement", lambda *_: None)
    left = {}
    for count in (0, 12):
        repair = QUICK["repair"] | {"suggestions": count}
        params = RazorParams.model_validate(QUICK | {"repair": repair})
        result = razor(llava, task, params, torch.Generator().manual_seed(0))
        with applied(dict(llava.module.named_parameters()), result.edit):
            left[count] = told(llava, task)
    assert left[0] > 0.95
    assert left[12] < 0.85


def test_a_validation_asks_for_the_target_by_suggesting_it(llava, task, monkeypatch):
    validation = Validation(llava, task)
    before = validation()
    assert before.agreement > 0.8
    assert before.row(step=0)["agreement"] == before.agreement
    asked = []
    agreement = llava.agreement

    def denies(batch, label, turn):
        asked.append((label, turn))
        return -agreement(batch, label, turn).abs()

    monkeypatch.setattr(llava, "agreement", denies)
    after = validation()
    assert after.agreement == 0.0
    assert asked == [(TARGET, turn) for turn in range(3)]
    assert after.forget_accuracy == before.forget_accuracy  # it is no part of what a step search brings down
