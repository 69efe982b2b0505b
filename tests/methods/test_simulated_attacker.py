"""The simulated attacker: he relearns in earnest, leaves no trace, and a step against him makes his work harder."""

import pytest
import torch

from razor_pipeline.core.correction import relative_descent
from razor_pipeline.core.edit import move, snapshot
from razor_pipeline.core.weight_edit import preserved
from razor_pipeline.methods.calibrating import Calibration
from razor_pipeline.methods.simulated_attacker import SimulatedAttacker
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.methods.validation import Validation
from razor_pipeline.params.razor import RazorParams, ResistParams

from .conftest import QUICK


@pytest.fixture
def task(samples):
    return unlearning_task(samples)


@pytest.fixture
def leaves(clip):
    parameters = dict(clip.module.named_parameters())
    names = ("visual_projection.weight", "text_projection.weight")
    return {name: parameters[name] for name in names}


def attacker(clip, task, **params):
    return SimulatedAttacker(clip, task, ResistParams(**{"images": 4, **params}))


def reached(clip, task):
    """The loss that an attacker of five steps gets to from the model as it is."""
    enemy = attacker(clip, task, steps=5)
    seen = []

    def note(shot):
        value = SimulatedAttacker._naming(enemy, shot)
        seen.append(float(value.detach()))
        return value

    enemy._naming = note
    enemy.gradient({"logit_scale": clip.module.logit_scale})
    return seen[0], seen[-1]


def test_he_relearns_and_every_bit_is_back(clip, task, leaves):
    before = {name: tensor.clone() for name, tensor in clip.module.state_dict().items()}
    first, last = reached(clip, task)
    assert last < 0.5 * first
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.module.state_dict().items())
    assert not any(parameter.requires_grad for parameter in clip.module.parameters())


def test_the_gradient_is_taken_where_he_ends_up(clip, task, leaves):
    near = attacker(clip, task, steps=1, learning_rate=1e-9).gradient(leaves)
    far = attacker(clip, task, steps=5).gradient(leaves)
    assert all(torch.isfinite(tensor).all() for tensor in far.values())
    assert any(not torch.allclose(near[name], far[name], rtol=0.05) for name in leaves)


def test_he_attacks_every_so_many_times_and_whenever_other_weights_are_asked_for(clip, task, leaves):
    enemy, attacks = attacker(clip, task, steps=1, every=2), []
    real = enemy._attack
    enemy._attack = lambda some: attacks.append(set(some)) or real(some)
    first, second, third = (enemy.gradient(leaves) for _ in range(3))
    assert first is second is not third
    fewer = {"visual_projection.weight": leaves["visual_projection.weight"]}
    assert enemy.gradient(fewer).keys() == fewer.keys()
    assert attacks == [set(leaves), set(leaves), set(fewer)]


def test_a_step_against_him_makes_it_harder_and_one_the_other_way_easier(clip, task):
    parts = [part for part in clip.components("matrix") if part.name.endswith(".projection")]
    parameters = dict(clip.module.named_parameters())
    leaves = {part.parameter: parameters[part.parameter] for one in parts for part in one.slices}
    gradient = attacker(clip, task, steps=5).gradient(leaves)
    ascent = {part.key: -part.view(gradient[part.parameter]) for one in parts for part in one.slices}
    losses = {}
    for sign in (-1.0, 0.0, 1.0):
        with preserved(parameters, parts):
            change = relative_descent(parts, parameters, ascent, 0.02)
            move(parameters, parts, snapshot(parameters, parts), change, sign)
            losses[sign] = reached(clip, task)[1]
    assert losses[-1.0] < losses[0.0] < losses[1.0]


@pytest.mark.parametrize(
    ("repair", "works"), [({}, True), ({"resist": None}, False), ({"calibrate": 0.0}, False)]
)
def test_the_corrective_step_heeds_him_only_where_the_gap_is_solved_for(
    clip, task, repair, works, monkeypatch
):
    asked = []
    real = SimulatedAttacker.gradient
    monkeypatch.setattr(
        SimulatedAttacker, "gradient", lambda self, leaves: asked.append(1) or real(self, leaves)
    )
    params = RazorParams.model_validate({**QUICK.model_dump(), "repair": {"samples": 32, **repair}})
    validation = Validation(clip, task)
    step = Calibration(clip, task, params, torch.Generator().manual_seed(0), clip, validation)
    parts = [part for part in clip.components("matrix") if part.name.endswith(".projection")]
    reference = validation().reference
    step.change(parts, dict(clip.module.named_parameters()), None, 0.01, reference)
    assert bool(asked) is works
