"""Hardening: the body unlearns what learnt words stand for, within its budget; others are predicted as before."""

from dataclasses import replace

import pytest
import torch
from families.cases import tiny_pipeline

from razor_pipeline.atelier import generate
from razor_pipeline.core.components import parameter_names
from razor_pipeline.core.edit import restore, snapshot
from razor_pipeline.core.gradients import mean_gradients
from razor_pipeline.core.mentions import mentions
from razor_pipeline.core.scoring import score_components
from razor_pipeline.core.weight_edit import applied
from razor_pipeline.families import DeepDiffusionFamily, DiffusionFamily
from razor_pipeline.manifest import arranged
from razor_pipeline.methods.anchor import with_anchors
from razor_pipeline.methods.hardening import Hardening, hardenable
from razor_pipeline.methods.lessons import lessons_of, missed
from razor_pipeline.methods.razor import razor
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.params.data import AtelierParams, DataParams, SplitCounts, SplittingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.splitting import split_samples

NONE = SplitCounts(edit=0, validation=0, test=0)
PARAMS = RazorParams.model_validate(
    {
        "scoring": {"retain_samples": 32},
        "components": 12,
        "per_tower": True,
        "max_rounds": 1,
        "max_edited_share": 1.0,  # the U-Net of this test is tiny, so the text encoder is most of the model
        "search": {"measure": "forget_accuracy", "goal": 0.0, "evaluations": 0},
        "repair": {"steps": 1, "evaluations": 2},
        "harden": {
            "rounds": 2,
            "word": {"images": 4, "steps": 4, "batch_size": 4},
            "components": 6,
            "lessons": 24,
            "steps": 40,
            "led": 12,
            "kept": 12,
            "keep": 0.5,
            "learning_rate": 0.003,
        },
    }
)


@pytest.fixture(scope="module")
def canvas():
    counts = SplitCounts(edit=3, validation=1, test=1)
    return generate(AtelierParams(image_size=32, portraits=NONE, canvas=counts), workers=1)


@pytest.fixture(scope="module")
def task(canvas):
    rows = arranged(canvas, DataParams(concept="label"))
    return with_anchors(
        DeepDiffusionFamily(tiny_pipeline()),
        unlearning_task(split_samples(rows, "cat", SplittingParams(), 0)),
        {"cat": "dog"},
    )


@pytest.fixture
def model():
    return DeepDiffusionFamily(tiny_pipeline())


def weights(model):
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


def test_the_body_is_what_reads_no_prompt(model):
    body, readers = parameter_names(model.body()), set(model.readers())
    edited = set(parameter_names(model.components("matrix")))
    assert not set(body) & (edited | readers)
    every = {
        f"unet.{name}.weight"
        for name, layer in model.pipeline.unet.named_modules()
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)
    }
    assert {name for name in body if name.endswith("weight")} == every - readers
    assert {c.tower for c in model.body()} == {"unet"}
    assert len({c.layer for c in model.body()}) > 3


def test_the_chosen_components_unlearn_every_word_and_keep_what_is_kept(model, task):
    hardening = Hardening(model, task, PARAMS, torch.Generator().manual_seed(0))
    parameters = dict(model.module.named_parameters())
    hardening.learn_words()
    room = 20_000
    body = hardening.chosen(room)
    assert 0 < sum(c.numel(parameters) for c in body) <= room
    assert 0 < sum(c.numel(parameters) for c in hardening.chosen(1_000)) <= 1_000
    [target] = hardening.targets
    assert len(target.words) == 2  # what the original encoder says, and the learnt one
    assert not torch.allclose(*target.words)
    every = torch.arange(len(target.lessons))

    def distances():
        with torch.no_grad():
            words = [float(missed(model, target.told(word, every))) for word in target.words]
            return words, float(missed(model, hardening.kept))

    before, start = weights(model), snapshot(parameters, body)
    led, kept = distances()
    assert min(led) > 0.0
    assert kept < 1e-9  # the base predicts what it predicts
    hardening.unlearn(body, parameters)
    after, drift = distances()
    assert all(now < 0.85 * then for now, then in zip(after, led, strict=True))
    assert drift < max(after)
    moved = {name for name, tensor in weights(model).items() if not torch.equal(tensor, before[name])}
    assert moved == set(parameter_names(body))

    # Control: with nothing kept the others are drawn along further.
    restore(parameters, body, start)
    hardening.params = hardening.params.model_copy(update={"keep": 1e-9})
    hardening.unlearn(body, parameters)
    assert distances()[1] > drift


def test_others_are_kept_at_the_targets_images_too_and_count_as_safety_at_their_own(model, task, monkeypatch):
    made, ranked = [], []

    def lessons(family, rows, prompts, *others):
        made.append((list(rows["label"]), list(prompts)))
        return lessons_of(family, rows, prompts, *others)

    def gradients(loss, batches, leaves, name):
        ranked.append((name, sum(map(len, batches))))
        return mean_gradients(loss, batches, leaves, name)

    monkeypatch.setattr("razor_pipeline.methods.hardening.lessons_of", lessons)
    monkeypatch.setattr("razor_pipeline.methods.hardening.mean_gradients", gradients)
    hardening = Hardening(model, task, PARAMS, torch.Generator().manual_seed(0))
    labels, prompts = made[-1]
    half = len(labels) // 2
    assert set(labels[:half]) == {"cat"}
    assert "cat" not in labels[half:]
    assert not any(mentions(prompt, "cat") for prompt in prompts)
    assert "" not in prompts[:half]
    assert "" in prompts[half:]
    hardening.learn_words()
    hardening.chosen(20_000)
    assert dict(ranked)["retain"] == len(labels) - half


def test_others_are_kept_at_the_images_of_all_targets(model, canvas, monkeypatch):
    rows = arranged(canvas, DataParams(concept="label"))
    both = unlearning_task(split_samples(rows, ["cat", "fish"], SplittingParams(), 0))
    shown = []

    def lessons(family, rows, *others):
        shown.append(list(rows["label"]))
        return lessons_of(family, rows, *others)

    monkeypatch.setattr("razor_pipeline.methods.hardening.lessons_of", lessons)
    task = with_anchors(model, both, {"cat": "dog", "fish": "dog"})
    Hardening(model, task, PARAMS, torch.Generator().manual_seed(0))
    half = len(shown[-1]) // 2
    assert half < len(both.forget[0].edit)  # images of the first would do
    assert set(shown[-1][:half]) == {"cat", "fish"}


def test_the_ranking_takes_a_forget_loss_that_unlearning_ascends(model, task, monkeypatch):
    """Descending what the words miss and descending the retain loss agree where the score's two gradients oppose."""
    hardening = Hardening(model, task, PARAMS, torch.Generator().manual_seed(0))
    hardening.learn_words()
    seen = []

    def spy(components, parameters, forget, *others):
        seen.append(forget)
        return score_components(components, parameters, forget, *others)

    monkeypatch.setattr("razor_pipeline.methods.hardening.score_components", spy)
    parameters = dict(model.module.named_parameters())
    hardening.chosen(20_000)
    [target] = hardening.targets
    lessons = [target.told(target.words[-1], torch.arange(len(target.lessons)))]

    def distance():
        with torch.no_grad():
            return float(missed(model, lessons[0]))

    start = distance()
    name = "unet.conv_out.weight"
    with torch.no_grad():
        parameters[name] += 0.01 * seen[0][name] / seen[0][name].norm()
    assert distance() < start


def test_a_hardened_edit_holds_body_and_readers_within_its_share_and_leaves_the_model_as_it_was(model, task):
    before = weights(model)
    total = sum(parameter.numel() for parameter in model.module.parameters())

    def edited(params):
        return razor(model, task, params, torch.Generator().manual_seed(0))

    plain = edited(PARAMS.model_copy(update={"harden": None}))
    share = plain.edit.weights / total + 0.01
    found = edited(PARAMS.model_copy(update={"max_edited_share": share}))
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(model).items())
    assert plain.edit.weights < found.edit.weights <= share * total
    body = [name for name in found.edit.components if name.startswith("unet.body.")]
    assert [*plain.edit.components, *body] == list(found.edit.components)
    for edit, moves in ((found.edit, True), (plain.edit, False)):  # the second is the control
        with applied(dict(model.module.named_parameters()), edit):
            now = weights(model)
        moved = {name for name, tensor in now.items() if not torch.equal(tensor, before[name])}
        assert bool(moved & set(parameter_names(model.body()))) == moves


def test_a_round_that_loses_what_is_kept_is_taken_back(model, task, caplog):
    def edited(**harden):
        params = PARAMS.model_copy(update={"harden": PARAMS.harden.model_copy(update=harden)})
        found = razor(model, task, params, torch.Generator().manual_seed(0))
        return found.edit, [row["stage"] for row in found.trace]

    edit, stages = edited(learning_rate=1.0, steps=5)
    assert stages[-2:] == ["unhardened", "taken_back"]
    assert not any(name.startswith("unet.body.") for name in edit.components)
    assert "Round 1 of hardening is taken back" in caplog.text
    caplog.clear()
    edit, stages = edited(learning_rate=1e-5, steps=5)  # control
    assert stages[-2:] == ["harden", "harden"]
    assert any(name.startswith("unet.body.") for name in edit.components)
    assert "taken back" not in caplog.text


@pytest.mark.parametrize("way", ["family", "prompt"])
def test_what_no_word_can_be_taught_to_is_refused(model, task, way):
    if way == "family":
        with pytest.raises(ValueError, match="no new word can be taught to 'diffusion'"):
            hardenable(DiffusionFamily(model.pipeline), task)
        return
    [forget] = task.forget
    unnamed = forget.edit.assign(prompt="A picture of an animal.")
    with pytest.raises(ValueError, match="does not hold 'cat' in one piece"):
        hardenable(model, replace(task, forget=(replace(forget, edit=unnamed),)))


@pytest.mark.parametrize(("share", "towers"), [(0.0, None), (1.0, ("text",))])
def test_without_room_for_a_matrix_it_is_refused_before_any_attack(model, task, share, towers):
    params = PARAMS.model_copy(update={"scoring": PARAMS.scoring.model_copy(update={"towers": towers})})
    hardening = Hardening(model, task, params, torch.Generator().manual_seed(0))
    total = sum(parameter.numel() for parameter in model.module.parameters())
    with pytest.raises(ValueError, match=r"razor\.harden") as refused:
        hardening.check_room(int(share * total))
    assert ("scoring.towers leaves out" if towers else "the smallest matrix of the body has") in str(
        refused.value
    )
    assert "set razor.harden to null" in str(refused.value)


def test_whatever_interrupts_it_leaves_the_model_as_it_was(model, task, monkeypatch):
    before = weights(model)
    asked = []

    def loss(self):
        asked.append(1)
        if len(asked) == 5:
            raise KeyboardInterrupt
        return original(self)

    original = Hardening._loss
    monkeypatch.setattr(Hardening, "_loss", loss)
    with pytest.raises(KeyboardInterrupt):
        razor(model, task, PARAMS, torch.Generator().manual_seed(0))
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(model).items())
    assert not any(p.requires_grad or p.grad is not None for p in model.module.parameters())


def test_every_target_has_its_own_attacker_and_words(model, canvas):
    rows = arranged(canvas, DataParams(concept="label"))
    both = unlearning_task(split_samples(rows, ["cat", "fish"], SplittingParams(), 0))
    both = with_anchors(model, both, {"cat": "dog", "fish": "house"})
    hardening = Hardening(model, both, PARAMS, torch.Generator().manual_seed(0))
    hardening.learn_words()
    cat, fish = hardening.targets
    assert {target.forget.target for target in hardening.targets} == {"cat", "fish"}
    assert all(target.forget.target in prompt for target in hardening.targets for prompt in target.prompts)
    assert cat.attacker is not fish.attacker
    assert all(not torch.allclose(*target.words) for target in hardening.targets)
    body = hardening.chosen(20_000)
    before = snapshot(dict(model.module.named_parameters()), body)
    hardening.unlearn(body, dict(model.module.named_parameters()))
    after = snapshot(dict(model.module.named_parameters()), body)
    assert any(not torch.equal(before[key], piece) for key, piece in after.items())
