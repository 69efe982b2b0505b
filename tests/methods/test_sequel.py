"""An edit of a model that was edited before: what it holds of the earlier ones, and what its costs count against."""

from dataclasses import replace

import pytest
import torch

from razor_pipeline.core.curvature import recording_inputs
from razor_pipeline.core.weight_edit import applied
from razor_pipeline.families import ClipFamily
from razor_pipeline.methods.calibrating import Calibration
from razor_pipeline.methods.held import HELD
from razor_pipeline.methods.razor import _Rounds, razor
from razor_pipeline.methods.scoring import score
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.methods.validation import Validation
from razor_pipeline.params.data import SplittingParams
from razor_pipeline.splitting import split_samples

from .conftest import QUICK, TARGET, ZOO

SECOND = "Hiro Tanaka"
SIZES = SplittingParams(max_retain_samples=192, max_validation_samples=96)


@pytest.fixture(scope="module")
def both(manifest):
    return unlearning_task(split_samples(manifest, [TARGET, SECOND], SIZES, 0), [TARGET])


@pytest.fixture(scope="module")
def champion(samples):
    clip = ClipFamily.from_pretrained(str(ZOO / "clip"))
    result = razor(clip, unlearning_task(samples), QUICK, torch.Generator().manual_seed(0))
    result.edit.apply(dict(clip.module.named_parameters()))
    return clip


def held(champion, clip, both, **repair):
    params = QUICK.model_copy(update={"repair": QUICK.repair.model_copy(update=repair)})
    return Calibration(
        champion, both, params, torch.Generator().manual_seed(0), clip, Validation(champion, both)
    )


def drift(model, held):
    return model.mismatch_loss(held.batch, held.seen).item()


def test_what_is_kept_is_held_as_the_original_has_it_and_the_forgotten_as_it_is_now(champion, clip, both):
    step = held(champion, clip, both)
    [[forgotten]] = step.earlier
    assert len(forgotten) == min(HELD, len(both.earlier[0].edit))
    for one in step.turns[0]:
        assert drift(clip, one) == pytest.approx(0.0, abs=1e-9)
        assert drift(champion, one) > 1e-6  # control: what the first edit cost
    assert drift(champion, forgotten) == pytest.approx(0.0, abs=1e-9)
    assert drift(clip, forgotten) > 1e-3  # control: what it was made to forget


def test_what_was_forgotten_earlier_is_among_what_an_edit_moves_least(champion, both):
    """Its inputs, in the metric of the covariances, are shorter than where it is not."""
    name = "text_model.encoder.layers.1.mlp.fc1.weight"
    [component] = [c for c in champion.components("matrix") if c.slices[0].parameter == name]

    def covariance(task):
        generator = torch.Generator().manual_seed(0)
        scored = score(champion, task, QUICK.scoring, generator, keep=lambda _: {component.name})
        return scored.covariances[name].double()

    rows = both.earlier[0].edit.head(4)
    with recording_inputs(champion.module, {name}) as found, torch.no_grad():
        champion.observe(champion.batches(rows, 4)[0])

    def length(task):
        matrix = covariance(task)
        damped = matrix + 0.001 * matrix.trace() / len(matrix) * torch.eye(len(matrix), dtype=torch.float64)
        return float(torch.linalg.solve(damped / damped.trace(), found[name].double()).trace())

    assert length(both) < 0.8 * length(replace(both, earlier=()))


def test_the_steps_take_the_images_in_turns_and_all_of_them(champion, clip, both):
    whole, parts = (held(champion, clip, both, turns=turns) for turns in (1, 3))
    counts = [sum(map(len, turn)) for turn in parts.turns]
    assert sum(counts) == sum(map(len, whole.turns[0]))
    assert max(counts) - min(counts) <= 3  # one row of each kind
    most = max(map(len, whole.turns[0]))
    assert all(held(champion, clip, both, turns=10 * most).turns)  # none is empty
    name, weight = next(iter(champion.module.named_parameters()))
    losses = [parts.keeping({name: weight}).loss for _ in range(4)]
    assert losses[3] == losses[0]
    assert len(set(losses[:3])) == 3


def test_the_first_one_stays_forgotten(champion, clip, both):
    """Control: without what holds it, its images come nearer to its name."""
    params = QUICK.model_copy(update={"repair": QUICK.repair.model_copy(update={"steps": 8})})

    def after(task):
        result = razor(champion, task, params, torch.Generator().manual_seed(0), original=clip)
        with applied(dict(champion.module.named_parameters()), result.edit):
            return Validation(champion, both)()

    before = Validation(champion, both)()
    assert before.aucs[0] > 0.95  # control: the second one is known
    assert before.forget_accuracy > 0.9
    held, left = after(both), after(replace(both, earlier=()))
    assert held.forget_accuracy <= 0.25  # the larger of the two people's; 4 images each
    assert abs(held.aucs[1] - before.aucs[1]) < abs(left.aucs[1] - before.aucs[1])


def test_costs_count_against_the_original(champion, clip, both):
    scored = score(champion, both, QUICK.scoring, torch.Generator().manual_seed(0))
    rounds = _Rounds(champion, both, QUICK, torch.Generator().manual_seed(0), scored, clip)
    seen = Validation(champion, both)
    assert rounds.base == seen(clip)
    assert rounds.base != seen()  # control
    assert [row["stage"] for row in rounds.editor.trace] == ["base", "original"]


@pytest.mark.parametrize(
    ("newest", "earlier", "expected"),
    [(0.4, (0.6, 0.2), (0.4, 0.4)), (0.7, (0.5,), (0.7, 0.5)), (0.4, (), (0.4,))],
)
def test_what_was_forgotten_earlier_counts_by_its_mean(champion, both, newest, earlier, expected):
    seen = Validation(champion, both)
    assert seen._told((newest, *earlier)) == pytest.approx(expected)
