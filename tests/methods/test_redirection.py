"""RAZOR where forgetting is redirection: Stable Diffusion's text encoder, on the prompts of the canvas."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from families.cases import tiny_pipeline, tiny_pipeline3

from razor_pipeline.atelier import generate
from razor_pipeline.core.weight_edit import applied
from razor_pipeline.families import DeepDiffusion3Family, DeepDiffusionFamily, DiffusionFamily, deep_diffusion
from razor_pipeline.manifest import arranged
from razor_pipeline.methods import redirecting
from razor_pipeline.methods.anchor import CANDIDATES, AnchorError, chosen_anchors, with_anchors
from razor_pipeline.methods.baseline import check_baseline
from razor_pipeline.methods.razor import razor
from razor_pipeline.methods.redirecting import Redirection
from razor_pipeline.methods.task import prompts_by_cell, unlearning_task
from razor_pipeline.params.data import AtelierParams, DataParams, SplitCounts, SplittingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.splitting import split_samples

NONE = SplitCounts(edit=0, validation=0, test=0)
PARAMS = RazorParams.model_validate(
    {
        "scoring": {"retain_samples": 32},
        "components": 8,
        "max_edited_share": 1.0,  # the U-Net of this test is tiny, so the text encoder is most of the model
        "search": {"measure": "forget_accuracy", "goal": 0.0},
        "repair": {"steps": 1, "evaluations": 30},
    }
)


@pytest.fixture(scope="module")
def canvas():
    counts = SplitCounts(edit=3, validation=1, test=1)
    return generate(AtelierParams(image_size=32, portraits=NONE, canvas=counts), workers=1)


@pytest.fixture
def model():
    """The text encoder is the zoo's, trained; autoencoder and U-Net have random weights and play no part here."""
    return DiffusionFamily(tiny_pipeline())


def task_of(canvas, target, concept="label", **sizes):
    rows = arranged(canvas, DataParams(concept=concept))
    return unlearning_task(split_samples(rows, target, SplittingParams(**sizes), 0))


def anchored(model, task, anchor=None):
    return with_anchors(model, task, chosen_anchors(model, task, anchor))


def edited(model, task, params=PARAMS):
    return razor(model, task, params, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("concept", "target"), [("label", "cat"), ("style", "Mosaic")])
def test_prompts_of_the_target_mean_the_anchor_and_all_others_what_they_meant(model, canvas, concept, target):
    task = anchored(model, task_of(canvas, target, concept))
    assert check_baseline(model, task, False) == {}  # it would tell its own prompts apart whatever it drew
    forget = model.batches(task.forget[0].validation, 64)[0]
    kept = model.batches(task.retain_validation, 256)
    prompts = sorted(set(task.retain_validation["prompt"]))
    before = model.scores(kept, prompts).argmax(1)
    with torch.no_grad():
        assert torch.allclose(model.knowledge(forget), torch.ones(len(forget)))
    found = edited(model, task)
    with applied(dict(model.module.named_parameters()), found.edit), torch.no_grad():
        left = model.knowledge(forget)
        drift = (model.observe(kept[0]) - model.frozen_conditioning(kept[0].caption)).square().mean()
        away = (
            (model.frozen_conditioning(forget.caption) - model.frozen_conditioning(forget.anchor))
            .square()
            .mean()
        )
        assert torch.equal(model.scores(kept, prompts).argmax(1), before)
    assert float(left.mean()) < 0.4
    assert float(drift) < 0.05 * float(away)
    assert found.stop_reason == "target_met"


@pytest.mark.parametrize("kind", [DiffusionFamily, DeepDiffusionFamily])
def test_guidance_draws_away_from_what_it_drew_away_from(canvas, kind, monkeypatch):
    """The empty prompt is in every drawing; control: where it does not count, it goes along with the target."""
    model = kind(tiny_pipeline())
    task = anchored(model, task_of(canvas, "cat"), "dog")
    params = PARAMS.model_copy(update={"per_tower": kind is DeepDiffusionFamily, "components": 16})

    def drift():
        found = edited(model, task, params).edit
        with torch.no_grad():
            before = model.meaning([""])
            with applied(dict(model.module.named_parameters()), found):
                return float((model.meaning([""]) - before).square().mean())

    held = drift()
    made, sums = Redirection._batches, deep_diffusion.state_sums

    def uncounted(self, *given):
        batches = made(self, *given)
        batches[0].weight_C[len(self.led)] = 0.0
        return batches

    monkeypatch.setattr(Redirection, "_batches", uncounted)
    monkeypatch.setattr(deep_diffusion, "state_sums", lambda *states: sums(*states[:3], 0.0 * states[3]))
    assert held < 0.1 * drift()


def test_what_is_like_the_only_prompt_that_is_led_stays_where_it_was(model, canvas, monkeypatch):
    """Only mosaic cats go; control: other mosaics go along where the one prompt weighs as much as all that is kept."""
    task = anchored(model, task_of(canvas, "cat in Mosaic", "combination"))
    near = sorted(p for p in set(task.retain["prompt"]) if "Mosaic" in p)
    repair = PARAMS.repair.model_copy(update={"evaluations": 40, "damping": 0.001})
    scoring = PARAMS.scoring.model_copy(update={"retain_samples": 128})
    search = PARAMS.search.model_copy(update={"evaluations": 0})  # as in conf/combination
    params = PARAMS.model_copy(update={"repair": repair, "scoring": scoring, "search": search})
    [(told, goal)] = set(zip(task.forget[0].edit["prompt"], task.forget[0].edit["anchor"], strict=True))

    def moved():
        found = edited(model, task, params)
        with torch.no_grad():
            before, way = model.conditioning([*near, told]), model.conditioning([goal])
            with applied(dict(model.module.named_parameters()), found.edit):
                after = model.conditioning([*near, told])
        drift, left = (after - before)[:-1].norm(dim=1).max(), (after[-1] - way).norm()
        return float(drift / (before[-1] - way).norm()), float(left / (before[-1] - way).norm())

    drift, left = moved()
    monkeypatch.setattr(redirecting, "LED_OVER_KEPT", 1e9)
    along, _ = moved()
    assert left < 0.6
    assert drift < 0.15
    assert drift < 0.5 * along


def test_a_deep_edit_stands_when_the_original_encoder_is_put_back(model, canvas):
    """Keys and values of what the original encoder says of the target are near the anchor's; control: not so before."""
    deep = DeepDiffusionFamily(model.pipeline)
    task = anchored(deep, task_of(canvas, "cat"), "dog")
    rows = task.forget[0].validation
    told = {name: list(rows[name]) for name in ("caption", "anchor")}
    kept = sorted(set(task.retain_validation["prompt"]))
    found = edited(deep, task, PARAMS.model_copy(update={"per_tower": True, "components": 16}))
    assert {name.split(".")[0] for name in found.edit.components} == {"text", "unet"}

    def read(prompts):
        attention = [m for n, m in deep.pipeline.unet.named_modules() if n.endswith("attn2")]
        states = deep.frozen_conditioning(prompts).unflatten(1, (-1, 128))
        return torch.cat([r(states).flatten(1) for a in attention for r in (a.to_k, a.to_v)], dim=1)

    with torch.no_grad():
        goal, start, others = read(told["anchor"]), read(told["caption"]), read(kept)
        with applied(dict(deep.module.named_parameters()), found.edit):
            now, then = read(told["caption"]), read(kept)
    whole = float((start - goal).square().mean())
    assert float((now - goal).square().mean()) < 0.6 * whole
    assert float((then - others).square().mean()) < 0.05 * whole


def test_a_deep_edit_of_an_mmdit_stands_when_the_original_encoders_are_put_back(canvas):
    """Whatever comes into the transformer of the original encoders' target is near the anchor's; others stay."""
    deep = DeepDiffusion3Family(tiny_pipeline3())
    task = anchored(deep, task_of(canvas, "cat"), "dog")
    rows = task.forget[0].validation
    told = {name: list(rows[name]) for name in ("caption", "anchor")}
    kept = sorted(set(task.retain_validation["prompt"]))
    found = edited(deep, task, PARAMS.model_copy(update={"per_tower": True, "components": 24}))
    assert {name.split(".")[0] for name in found.edit.components} == {"text", "text_2", "transformer"}
    transformer = deep.pipeline.transformer
    doors = (transformer.context_embedder, transformer.time_text_embed.text_embedder.linear_1)

    def comes_in(prompts):
        """What the layers behind the doors see while the transformer predicts, with the original encoders."""
        seen = []
        hooks = [door.register_forward_hook(lambda *call: seen.append(call[2].flatten(1))) for door in doors]
        latent = torch.zeros(len(prompts), deep.pipeline.vae.config.latent_channels, 4, 4)
        noisy = deep.noisy(latent, latent, torch.full((len(prompts),), 0.5))
        deep.predicted(noisy, deep.frozen_conditioning(prompts))
        for hook in hooks:
            hook.remove()
        return torch.cat([part / part.square().mean().sqrt() for part in seen], dim=1)

    with torch.no_grad():
        goal, start, others = comes_in(told["anchor"]), comes_in(told["caption"]), comes_in(kept)
        with applied(dict(deep.module.named_parameters()), found.edit):
            now, then = comes_in(told["caption"]), comes_in(kept)
    whole = float((start - goal).square().mean())
    assert float((now - goal).square().mean()) < 0.6 * whole
    assert float((then - others).square().mean()) < 0.05 * whole


def test_control_with_the_forget_term_off_the_prompts_keep_their_meaning(model, canvas):
    task = anchored(model, task_of(canvas, "cat"))
    off = {**PARAMS.model_dump(), "objective": {"lambda_f": 0.0}, "max_rounds": 1}
    found = edited(model, task, RazorParams.model_validate(off))
    forget = model.batches(task.forget[0].validation, 64)[0]
    with applied(dict(model.module.named_parameters()), found.edit), torch.no_grad():
        assert float(model.knowledge(forget).mean()) > 0.8


def test_the_method_leaves_the_model_bit_for_bit_and_a_seed_gives_the_same_bits(model, canvas):
    task = anchored(model, task_of(canvas, "cat"), "dog")
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    first, second = (edited(model, task) for _ in range(2))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.module.state_dict().items())
    assert all(torch.equal(first.edit.after[key], second.edit.after[key]) for key in first.edit.after)


def test_an_anchor_takes_the_targets_place_in_the_same_style(model, canvas):
    task = anchored(model, task_of(canvas, "cat"), "dog")
    rows = task.forget[0].edit
    assert set(rows["anchor"]) == {f"A dog image in {style} style." for style in rows["style"]}
    assert (rows["anchor"] == "A dog image in " + rows["style"] + " style.").all()
    nearest = anchored(model, task_of(canvas, "cat|dog"))
    anchors = {anchor for forget in nearest.forget for anchor in forget.edit["anchor"]}
    assert not {a for a in anchors if a.startswith(("A cat", "A dog"))}  # a target is no anchor


@pytest.mark.parametrize(
    ("concept", "target", "anchor"), [("label", "cat", "dog"), ("style", "Mosaic", "Neon")]
)
def test_an_anchor_has_its_prompt_of_every_style_however_few_rows_are_kept_to_edit_with(
    model, canvas, concept, target, anchor
):
    task = task_of(canvas, target, concept, max_retain_samples=20)
    kept = task.retain[task.retain["label"] == anchor]
    assert kept["style"].nunique() < 12  # control: they show some of the prompts alone
    [forget] = with_anchors(model, task, {target: anchor}).forget
    for rows in (forget.edit, forget.validation):
        assert rows["style"].nunique() == 12
        assert [prompt.replace(target, anchor) for prompt in rows["prompt"]] == list(rows["anchor"])


def test_an_anchor_that_lacks_one_of_the_targets_styles_is_refused_and_no_default(model, canvas):
    task = task_of(canvas, "cat")
    nearest = chosen_anchors(model, task, None)["cat"]
    gap = (canvas["label"] == nearest) & (canvas["style"] == "Mosaic")
    fewer = task_of(canvas[~gap], "cat")
    assert chosen_anchors(model, fewer, None)["cat"] != nearest
    with pytest.raises(
        AnchorError, match=f"anchor '{nearest}' has no prompt with 'Mosaic', in which it is to take"
    ):
        anchored(model, fewer, nearest)


def test_a_combination_has_any_other_as_its_anchor(model, canvas):
    task = anchored(model, task_of(canvas, "cat in Mosaic", "combination"), "dog in Neon")
    assert set(task.forget[0].edit["anchor"]) == {"A dog image in Neon style."}


def test_where_an_image_is_described_in_several_ways_the_first_is_the_anchor():
    rows = pd.DataFrame({"label": "dog", "style": "", "prompt": ["a dog", "a big dog"], "role": "retain"})
    assert prompts_by_cell(rows) == {("dog", ""): "a big dog"}


def test_a_line_of_requests_is_refused(model, canvas):
    rows = arranged(canvas, DataParams())
    both = unlearning_task(split_samples(rows, "cat|fish", SplittingParams(), 0), ["cat"])
    with pytest.raises(
        ValueError, match="'cat' was forgotten earlier, and a model that draws would be led back to it"
    ):
        edited(model, both)


@pytest.mark.parametrize("anchor", ["cat", "horse"])
def test_an_anchor_that_is_not_kept_is_refused(model, canvas, anchor):
    with pytest.raises(AnchorError, match=f"anchor '{anchor}' is none of the concepts that are kept"):
        anchored(model, task_of(canvas, "cat"), anchor)


def test_an_anchor_that_nothing_would_be_led_to_is_refused_and_not_passed_over(clip, canvas):
    task = task_of(canvas, "cat")
    with pytest.raises(AnchorError, match=r"family 'clip'; leave razor\.anchor out"):
        chosen_anchors(clip, task, "dog")
    assert chosen_anchors(clip, task, None) == {}  # control


def test_an_anchor_that_the_encoder_cannot_tell_from_the_target_is_refused(model, canvas):
    """Both are cut to the same tokens, and there is nothing between them to go."""
    task = task_of(canvas, "cat")
    long = "a drawing " * 40
    cells = {(label, style): f"{long}{prompt}" for (label, style), prompt in task.cells.items()}
    told = replace(task.forget[0], edit=task.forget[0].edit.assign(prompt=lambda rows: long + rows["prompt"]))
    with pytest.raises(AnchorError, match="are one to the text encoder"):
        with_anchors(model, replace(task, forget=(told,), cells=cells), {"cat": "dog"})
    with_anchors(model, task, {"cat": "dog"})  # control


def named_in(prompts):
    """Whoever looks sees what was asked for."""
    return [(prompt.split()[1], "") for prompt in prompts]


def test_a_concept_whose_drawings_are_taken_for_the_target_is_no_anchor(model, canvas):
    task = task_of(canvas, "cat")
    nearest = chosen_anchors(model, task, None)["cat"]
    shown_itself = replace(task, see=named_in)  # control
    assert chosen_anchors(model, shown_itself, None)["cat"] == nearest
    asked = []

    def one_is_a_cat(prompts):
        asked.append(named_in(prompts)[0][0])
        return [("cat", ""), *named_in(prompts)[1:]] if asked[-1] == nearest else named_in(prompts)

    looked_at = replace(task, see=one_is_a_cat)
    found = chosen_anchors(model, looked_at, None)["cat"]
    assert asked == [nearest, found]
    assert found != nearest
    assert chosen_anchors(model, looked_at, nearest)["cat"] == nearest  # what is asked for is not judged


def test_where_all_are_taken_for_the_target_the_least_mistaken_is_the_anchor(model, canvas):
    task, asked = task_of(canvas, "cat"), []

    def fewer_and_fewer(prompts):
        asked.append(named_in(prompts)[0][0])
        return [("cat", "")] * (CANDIDATES + 1 - len(asked)) + [(asked[-1], "")] * len(asked)

    found = chosen_anchors(model, replace(task, see=fewer_and_fewer), None)["cat"]
    assert found == asked[-1]
    assert len(asked) == CANDIDATES
