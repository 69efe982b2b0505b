"""The contract of every method, on the zoo's CLIP: it forgets for the reason it should and leaves the model alone."""

import json
from dataclasses import replace

import pytest
import torch
from families.cases import tiny_pipeline

from razor_pipeline.core.weight_edit import applied
from razor_pipeline.families import DiffusionFamily
from razor_pipeline.interfaces import UnlearningTask
from razor_pipeline.methods.candidates import Candidates
from razor_pipeline.methods.fitting import BETAS, _decaying
from razor_pipeline.methods.pool import Pool
from razor_pipeline.methods.registry import METHODS, run_method
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.methods.validation import Outcome, Validation
from razor_pipeline.params.peers import (
    EsdParams,
    FinetuneParams,
    SalunDiffusionParams,
    SalunParams,
    SlugParams,
    SsdParams,
    UceParams,
)
from razor_pipeline.params.razor import RazorParams

from .conftest import QUICK

SHORT = {"epochs": 1, "learning_rates": (3e-4,), "batch_size": 64}
QUICK_PARAMS = {
    "razor": QUICK,
    "ft": FinetuneParams(objective="ft", **SHORT | {"learning_rates": (1e-4,)}),
    "ga": FinetuneParams(
        objective="ga", **SHORT | {"epochs": 3, "learning_rates": (1e-3,), "batch_size": 16}
    ),
    "gaft": FinetuneParams(objective="gaft", **SHORT | {"epochs": 2, "batch_size": 16}),
    "salun": SalunParams(**SHORT | {"epochs": 2, "batch_size": 16}),
    "ssd": SsdParams(selections=(2.0, 10.0), retain_samples=48),
    "slug": SlugParams(evaluations=4, layers=2),
}
DRAWING = {EsdParams, UceParams, SalunDiffusionParams}  # held to the same in test_diffusion_peers.py
FORGET = ("razor", "ga", "slug", "salun", "ssd", "gaft")


@pytest.fixture(scope="module")
def task(samples):
    return unlearning_task(samples)


@pytest.fixture(scope="module")
def results(task):
    """Every method once."""
    from razor_pipeline.families import ClipFamily

    from .conftest import ZOO

    found = {}
    for name, params in QUICK_PARAMS.items():
        model = ClipFamily.from_pretrained(str(ZOO / "clip"))
        before = {key: tensor.clone() for key, tensor in model.module.state_dict().items()}
        result = run_method(model, task, params, torch.Generator().manual_seed(0))
        same = all(torch.equal(before[key], tensor) for key, tensor in model.module.state_dict().items())
        clean = all(p.grad is None and not p.requires_grad for p in model.module.parameters())
        found[name] = result, same and clean
    return found


def test_every_method_has_quick_parameters():
    assert {type(params) for params in QUICK_PARAMS.values()} | DRAWING == set(METHODS)


@pytest.mark.parametrize("name", QUICK_PARAMS)
def test_the_model_is_left_bit_for_bit(results, name):
    assert results[name][1]


@pytest.mark.parametrize("name", QUICK_PARAMS)
def test_the_edit_is_what_the_trace_says_and_reverts(results, clip, task, name):
    result, _ = results[name]
    parameters = dict(clip.module.named_parameters())
    before = {key: tensor.clone() for key, tensor in parameters.items()}
    with applied(parameters, result.edit):
        outcome = Validation(clip, task)()
    assert all(torch.equal(before[key], tensor) for key, tensor in parameters.items())
    candidates = result.trace[1:]  # the first row is the base model
    measured = {(round(row["forget_accuracy"], 2), round(row["retain_accuracy"], 2)) for row in candidates}
    near = min(
        abs(outcome.forget_accuracy - forget) + abs(outcome.retain_accuracy - retain)
        for forget, retain in measured
    )
    assert near < 0.05  # rounding to float16 moves little
    assert result.edit.manifest["method"] == name


def _knowledge(clip, task, edit=None):
    """Mean tie of the target's validation images to its name."""
    batch = clip.batches(task.forget[0].validation, 64)[0]
    with torch.no_grad():
        if edit is None:
            return float(clip.knowledge(batch).mean())
        with applied(dict(clip.module.named_parameters()), edit):
            return float(clip.knowledge(batch).mean())


@pytest.mark.parametrize("name", FORGET)
def test_it_lowers_what_the_model_knows_of_the_target(results, clip, task, name):
    assert _knowledge(clip, task, results[name][0].edit) < _knowledge(clip, task) - 0.03


@pytest.mark.parametrize("name", FORGET)
def test_the_target_is_named_on_less_than_half_of_its_images_by_some_candidate(results, name):
    base, *candidates = (row["forget_accuracy"] for row in results[name][0].trace)
    assert min(candidates) < 0.5 * base


def test_control_fine_tuning_on_what_is_kept_forgets_nothing(results, clip, task):
    assert _knowledge(clip, task, results["ft"][0].edit) > _knowledge(clip, task) - 0.03
    assert results["ft"][0].trace[-1]["forget_accuracy"] > 0.8


@pytest.mark.parametrize("name", ["gaft", "ssd"])
def test_a_seed_gives_the_same_bits(results, clip, task, name):
    again = run_method(clip, task, QUICK_PARAMS[name], torch.Generator().manual_seed(0))
    first = results[name][0]
    assert first.edit.after.keys() == again.edit.after.keys()
    assert all(torch.equal(first.edit.after[key], again.edit.after[key]) for key in first.edit.after)


def test_saluns_frozen_weights_stay_against_momentum_and_decay(results, clip):
    edit = results["salun"][0].edit
    parameters = dict(clip.module.named_parameters())
    total = sum(p.numel() for p in parameters.values())
    changed = sum(int((edit.after[key] != edit.before[key]).sum()) for key in edit.after)
    assert 0.1 * total < changed <= 0.505 * total  # half the weights, up to ties
    assert QUICK_PARAMS["salun"].weight_decay > 0.0
    assert BETAS[0] > 0.0
    gaft = results["gaft"][0].edit
    free = sum(int((gaft.after[key] != gaft.before[key]).sum()) for key in gaft.after)
    assert free > 0.505 * total  # control: without the mask most weights move


def test_salun_tells_a_renamed_image_from_all_names_and_the_forgotten_one(clip, task, monkeypatch):
    """Else nothing would be said against the name that it had."""
    encode, encoded, loss, asked = clip.batches, [], clip.naming_loss, []

    def seen(rows, *given):
        encoded.append(rows)
        return encode(rows, *given)

    def told(batch, prompts):
        asked.append((len(batch), prompts))
        return loss(batch, prompts)

    monkeypatch.setattr(clip, "batches", seen)
    monkeypatch.setattr(clip, "naming_loss", told)
    run_method(clip, task, SalunParams(**SHORT), torch.Generator().manual_seed(0))
    own = task.forget[0].edit
    [renamed] = [rows for rows in encoded if set(rows["sample_id"]) == set(own["sample_id"])][1:]
    assert renamed["label"].nunique() > 1
    assert all(row.caption in task.prompts[row.label] for row in renamed.itertuples())
    grouped = ["domain", "label", "style"]
    assert set(map(tuple, renamed[grouped].values)) <= set(map(tuple, task.retain[grouped].values))
    assert sum(count for count, _ in asked) == len(own)
    assert all(sorted(prompts) == sorted(one[0] for one in task.prompts.values()) for _, prompts in asked)
    assert task.forget[0].prompt not in set(renamed["caption"])
    # Nor do questions about what else they show ask for the target.
    assert all(json.loads(row.facts)["name"] == row.label for row in renamed.itertuples())


def test_a_single_image_to_forget_is_ascended_on(clip, task):
    alone = replace(task.forget[0], edit=task.forget[0].edit.head(1))
    one = replace(task, forget=(alone,), retain=task.retain.head(64))
    assert run_method(clip, one, QUICK_PARAMS["ga"], torch.Generator().manual_seed(0)).edit.weights > 0


def test_slug_moves_one_layer(results):
    components = results["slug"][0].edit.components
    assert 1 <= len(components) <= 2  # weight and bias
    assert len({name.rsplit(".", 1)[0] for name in components}) == 1


def test_slug_tries_layers_of_either_tower(clip, task):
    result = run_method(clip, task, SlugParams(evaluations=2, layers=1), torch.Generator().manual_seed(0))
    tried = {str(row["stage"]).split(".")[0] for row in result.trace if row["stage"] != "base"}
    assert tried == {"vision", "text"}


@pytest.mark.parametrize("varied", ["kept", "told"])
def test_of_equally_good_candidates_the_nearest_to_its_goals_is_the_edit(clip, task, monkeypatch, varied):
    kept = iter([0.95, 0.91, 0.94, 0.93] if varied == "kept" else [0.95] * 4)  # the base's first
    told = iter(
        [1.0, 0.40, 0.45, 0.49] if varied == "told" else [0.45] * 4
    )  # all others are within their limits
    forgot = iter([1.0, 0.0, 0.0, 0.0])

    def seen(_):
        return Outcome(next(forgot), (next(told),), next(kept))

    monkeypatch.setattr(Validation, "__call__", seen)
    params = SsdParams(selections=(2.0, 5.0, 10.0), retain_samples=16, max_retain_drop=0.05)
    found = Candidates(clip, task, params, "ssd")
    with found.search():
        for place, value in enumerate(params.selections, start=1):
            found.put({name: tensor + place for name, tensor in found.origin.items()})
            found.consider("dampening", value)
    edit = found.result().edit
    name = edit.components[0]
    torch.testing.assert_close(edit.after[name], edit.before[name] + 2)  # the second, neither first nor last


@pytest.mark.parametrize(("best", "warned"), [(1.0, True), (2.0, False), (3.0, True)])
def test_what_is_best_at_an_end_of_its_grid_is_told(clip, task, monkeypatch, caplog, best, warned):
    found = Candidates(clip, task, SsdParams(), "ssd")
    monkeypatch.setattr(
        found, "validation", lambda: Outcome(float(now != best), (), found.base.retain_accuracy)
    )
    for now in (1.0, 2.0, 3.0):
        found.consider("dampening", now)
    found.result((1.0, 2.0, 3.0))
    assert ("at their end" in caplog.text) is warned


def test_matrices_decay_and_nothing_else(clip):
    leaves = list(clip.module.parameters())
    groups = _decaying(leaves, 0.1)
    assert {leaf.ndim > 1 for group in groups for leaf in group["params"] if group["weight_decay"]} == {True}
    assert all(leaf.ndim < 2 for group in groups for leaf in group["params"] if not group["weight_decay"])
    assert sum(len(group["params"]) for group in groups) == len(leaves)
    without = _decaying(leaves, 0.0)  # of a method without decay none is left out
    assert sum(len(group["params"]) for group in without) == len(leaves)


def test_a_rate_that_is_too_high_costs_that_rate_alone(clip, task):
    params = FinetuneParams(objective="ga", epochs=1, learning_rates=(1e6, 1e-4), batch_size=64)
    result = run_method(clip, task, params, torch.Generator().manual_seed(0))
    assert result.trace[-1]["step_size"] == 1e-4
    assert all(torch.isfinite(tensor).all() for tensor in result.edit.after.values())


def test_razors_parameters_are_the_methods_own():
    assert METHODS[RazorParams].__name__ == "razor"


def test_images_are_decoded_once_for_all_epochs_of_all_trainings(clip, task, monkeypatch):
    decoded = []
    encode = clip.batches

    def counted(rows, *given):
        decoded.append(len(rows))
        return encode(rows, *given)

    monkeypatch.setattr(clip, "batches", counted)
    few = task.retain.head(12)
    short = UnlearningTask(task.forget, few, task.retain_validation, task.prompts)
    params = FinetuneParams(objective="gaft", epochs=2, learning_rates=(1e-6, 1e-5), batch_size=8)
    result = run_method(clip, short, params, torch.Generator().manual_seed(0))
    assert [row["stage"] for row in result.trace].count("training") == 4
    assert decoded.count(len(few)) == 1
    assert len(decoded) == 4  # validation split and never-seen images, forget set and retain set


def test_a_training_that_breaks_off_leaves_no_gradients(clip, task, monkeypatch):
    calls = []
    loss_of = clip.forget_loss

    def breaks(batch):
        calls.append(batch)
        if len(calls) > 1:
            raise RuntimeError("out of memory")
        return loss_of(batch)

    monkeypatch.setattr(clip, "forget_loss", breaks)
    with pytest.raises(RuntimeError, match="out of memory"):
        run_method(
            clip,
            task,
            FinetuneParams(objective="ga", **SHORT | {"epochs": 2}),
            torch.Generator().manual_seed(0),
        )
    assert all(parameter.grad is None for parameter in clip.module.parameters())


@pytest.mark.parametrize("name", ["ft", "ga", "gaft", "salun", "ssd"])
def test_a_method_for_models_that_name_refuses_one_that_draws(name):
    """SSD's loss would be 0 / 0 there, and a training would see the same noise at every step."""
    with pytest.raises(ValueError, match=r"and 'diffusion' draws; take it out of benchmark\.methods"):
        run_method(DiffusionFamily(tiny_pipeline()), None, QUICK_PARAMS[name], torch.Generator())


class Places:
    """What is taken of it says which places they were."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def take(self, places):
        return places


def test_a_batch_that_a_peer_trains_on_is_of_one_domain(clip, task):
    rows = task.retain.groupby("domain").head(18).sample(frac=1.0, random_state=0)
    pool = Pool(clip, rows, FinetuneParams(batch_size=8))
    pool.samples = Places(len(rows))
    everything = torch.arange(len(rows))
    batches = list(pool.shuffled(torch.Generator().manual_seed(0)))
    assert [len(set(rows["domain"].iloc[part.tolist()])) for part in batches] == [1] * len(batches)
    assert torch.cat(batches).sort().values.equal(everything)
    assert len(batches) == pool.steps() == 2 * 3
    mixed = everything[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))].split(8)
    assert max(len(set(rows["domain"].iloc[part.tolist()])) for part in mixed) == 2  # control
    domains = [rows["domain"].iloc[part[0].item()] for part in batches]
    assert domains != sorted(domains)  # nor one domain after the other
    few = everything[:5]
    taken = torch.cat(list(pool.shuffled(torch.Generator().manual_seed(0), few)))
    assert set(taken.tolist()) <= set(few.tolist())
