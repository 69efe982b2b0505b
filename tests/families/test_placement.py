"""Every family computes where its model is: checked on a pretended device, since tests have no GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from razor_pipeline.families.batches import Streamed
from razor_pipeline.families.placement import device_named
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.methods.razor import razor
from razor_pipeline.params.razor import RazorParams

from .cases import CASES, Case
from .pretended import is_there, pretended

QUICK = RazorParams.model_validate(
    {
        "scoring": {"batch_size": 8, "nearest": 1},
        "components": 3,
        "max_edited_share": 1.0,
        "search": {"evaluations": 2},
        "repair": {"steps": 1, "samples": 8, "evaluations": 2},
        "max_rounds": 1,
    }
)


def named(*names: str) -> list[Case]:
    return [case for case in CASES if case.name in names]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request) -> Case:
    return request.param


def losses(model, case) -> dict[str, torch.Tensor]:
    """What a method asks of a family, by name."""
    [batch], [other] = (model.batches(case.samples("edit", count), 16) for count in (3, 2))
    observed = model.observe(batch)
    found = {
        "forget": model.forget_loss(batch),
        "retain": model.retain_loss(batch),
        "observed": observed,
        "knowledge": model.knowledge(batch),
    }
    if case.anchor:
        return found
    return found | {
        "gap": model.gap([batch], model.knowledge(other).detach(), 0.45, case.prompts),
        "drift": model.keeping_losses(batch, observed.detach())[1],
        "logits": model.class_logits(batch, case.prompts),
    }


def test_losses_are_computed_where_the_model_is_and_scores_come_back(case):
    model = case.build()
    wanted, batches = losses(model, case), model.batches(case.samples("validation"), 4)
    scores = model.scores(batches, case.prompts)
    by_output = model.by_output(case.samples("validation"), case.prompts)
    seen = by_output.scores(batches, case.prompts)
    with pretended() as device:
        model.move_to(device)
        assert model.device == device
        found = losses(model, case)
        batches = model.batches(case.samples("validation"), 4)
        scored = model.scores(batches, case.prompts)
        by_output = model.by_output(case.samples("validation"), case.prompts)
        looked = by_output.scores(batches, case.prompts)
        assert all(is_there(loss) for loss in found.values())
        assert not is_there(scored)
        assert not is_there(looked)
        for name, loss in found.items():
            torch.testing.assert_close(loss.cpu(), wanted[name], rtol=1e-3, atol=1e-5, msg=name)
    torch.testing.assert_close(scored, scores, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(looked, seen, rtol=1e-3, atol=1e-5)


def edit(model, case, original):
    """The edit; where there is an original, one that follows on another of the same target."""
    task = case.task()
    if original is not None:
        task = replace(task, earlier=task.forget)
    return razor(model, task, QUICK, torch.Generator().manual_seed(0), original=original).edit


@pytest.mark.parametrize(
    ("name", "follows"),
    [("clip", False), ("clip", True), ("diffusion_deep", False), ("vlm", False), ("vlm", True)],
)
def test_an_edit_made_on_another_device_is_the_same_edit_and_lies_on_the_cpu(name, follows):
    [case] = named(name)
    model, original = case.build(), case.build() if follows else None
    wanted = edit(model, case, original)
    with pretended() as device:
        model.move_to(device)
        if original is not None:
            original.move_to(device)
        found = edit(model, case, original)
        assert not any(is_there(tensor) for tensor in (*found.before.values(), *found.after.values()))
        found.apply(dict(model.module.named_parameters()))
        assert found.state_of(dict(model.module.named_parameters())) == "edited"
    assert found.components == wanted.components
    changed = (
        torch.cat([(e.after[k] - e.before[k]).float().flatten() for k in wanted.after])
        for e in (found, wanted)
    )
    first, second = changed
    assert (first - second).norm() < 0.05 * second.norm()


@pytest.mark.parametrize("case", named("diffusion", "diffusion3"), ids=lambda case: case.name)
def test_drawings_are_made_on_another_device(case):
    model = case.build()
    assert isinstance(model, TextToImageFamily)
    [wanted] = model.draw(["a hat"], [1], 2, 3.0)
    with pretended() as device:
        model.move_to(device)
        [found] = model.draw(["a hat"], [1], 2, 3.0)
    assert found.size == wanted.size
    assert abs(torch.tensor(list(found.tobytes())).float() - torch.tensor(list(wanted.tobytes()))).max() <= 2


def test_control_a_batch_that_is_left_behind_is_noticed(monkeypatch):
    [case] = named("clip")
    model = case.build()
    monkeypatch.setattr(Streamed, "_made", lambda self, part, found: self.made(part, found))
    with pretended() as device:
        model.move_to(device)
        with pytest.raises(RuntimeError, match="same device"):
            losses(model, case)


def test_the_device_is_one_that_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_named("auto") == device_named("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"device is 'cuda', and torch sees 0 GPUs here; choose auto"):
        device_named("cuda")
    with pytest.raises(ValueError, match=r"device is 'gpu'; it must be auto, cpu"):
        device_named("gpu")


def test_each_process_of_a_machine_takes_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert device_named("auto") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device_named("auto") == device_named("cuda") == torch.device("cuda", 1)
    assert device_named("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(ValueError, match=r"device is 'cuda:2', and torch sees 2 GPUs"):
        device_named("cuda:2")
