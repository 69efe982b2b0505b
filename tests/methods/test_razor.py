"""RAZOR on the zoo's CLIP: the method contract, and that it forgets for the reason it should."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from razor_pipeline.core.gradients import NonFiniteError
from razor_pipeline.core.weight_edit import applied
from razor_pipeline.families.examination import examine
from razor_pipeline.families.naming_exam import NamingExam
from razor_pipeline.methods.acceptance import shortfall
from razor_pipeline.methods.baseline import NoBaselineError, check_baseline
from razor_pipeline.methods.nearest import nearest_rows, ties_to_targets
from razor_pipeline.methods.razor import razor
from razor_pipeline.methods.saved_scores import (
    candidate_gradients,
    restore_scored,
    score_table,
    scoring_result,
)
from razor_pipeline.methods.scoring import score
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.methods.validation import Validation
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.studies import edits

from .conftest import QUICK, TARGET


def run(clip, samples, params=QUICK, seed=0, scored=None):
    return razor(clip, unlearning_task(samples), params, torch.Generator().manual_seed(seed), scored)


def bits(clip):
    return {name: tensor.clone() for name, tensor in clip.module.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def marks(clip, samples, edit):
    exam = NamingExam(clip, samples)
    base = exam.put_to(clip)
    with applied(dict(clip.module.named_parameters()), edit):
        return exam.mark(exam.put_to(clip), base), exam.mark(base, base)


@pytest.fixture(scope="module")
def result(samples):
    from razor_pipeline.families import ClipFamily

    from .conftest import ZOO

    return run(ClipFamily.from_pretrained(str(ZOO / "clip")), samples)


def test_the_target_is_forgotten_and_the_others_are_kept(clip, samples, result):
    edited, base = marks(clip, samples, result.edit)
    assert base["forget_accuracy"].value > 0.9
    assert base["membership_auc"].value > 0.95
    assert edited["forget_accuracy"].value <= 0.05
    assert edited["membership_auc"].value < 0.9
    assert base["retain_accuracy"].value - edited["retain_accuracy"].value < 0.05


def test_the_trace_marks_the_state_that_became_the_edit(clip, samples, result):
    [kept] = [row for row in result.trace if row["kept"]]
    assert kept["stage"] == "repair"
    with applied(dict(clip.module.named_parameters()), result.edit):
        seen = Validation(clip, unlearning_task(samples))()
    assert seen.aucs[0] == pytest.approx(kept["knowledge_auc"], abs=0.01)
    base = result.trace[0]["knowledge_auc"]
    assert abs(base - kept["knowledge_auc"]) > 0.1  # control: another row would not do


def test_control_without_the_forget_term_nothing_is_forgotten(clip, samples):
    off = {
        "objective": {"lambda_f": 0.0},
        "repair": {"steps": 2, "samples": 96, "turns": 1, "calibrate": 0.0},
    }
    params = QUICK.model_validate(
        {**QUICK.model_dump(), **off, "search": {"evaluations": 2, "largest_step": 0.02, "first_step": 0.02}}
    )
    edited, base = marks(clip, samples, run(clip, samples, params).edit)
    assert edited["forget_accuracy"].value > base["forget_accuracy"].value - 0.2
    assert edited["membership_auc"].value > 0.9


def test_without_a_search_the_corrective_steps_begin_at_the_base(clip, samples):
    params = QUICK.model_copy(
        update={"search": QUICK.search.model_copy(update={"evaluations": 0}), "max_rounds": 2}
    )
    found = run(clip, samples, params)
    stages = [row["stage"] for row in found.trace]
    assert set(stages) == {"base", "repair"}
    assert stages.count("repair") == found.rounds * params.repair.steps
    edited, base = marks(clip, samples, found.edit)
    assert edited["membership_auc"].value < base["membership_auc"].value
    searched = [row["stage"] for row in run(clip, samples, QUICK).trace]  # control
    assert {"search", "zero_step"} <= set(searched)


def test_where_no_component_can_be_added_the_corrective_steps_go_on(clip, samples):
    """An AUC of exactly the goal is asked for, so that one round is never enough."""
    short = QUICK.model_copy(update={"auc_tolerance": 0.0, "components": 1000, "max_rounds": 1})
    one = run(clip, samples, short)
    two = run(clip, samples, short.model_copy(update={"max_rounds": 2}))
    assert two.rounds == 2
    assert two.edit.components == one.edit.components
    assert two.trace[: len(one.trace)] == one.trace
    assert {(row["stage"], row["round"]) for row in two.trace[len(one.trace) :]} == {("repair", 1)}
    validation = Validation(clip, unlearning_task(samples))
    base, parameters, gaps = validation(), dict(clip.module.named_parameters()), []
    for found in (one, two):
        with applied(parameters, found.edit):
            gaps.append(shortfall(validation(), base, short).gap)
    assert gaps[1] <= gaps[0] + 0.005  # as saved, in float16


def test_the_model_is_as_it_was_afterwards(clip, samples):
    before = bits(clip)
    run(clip, samples)
    assert same(before, bits(clip))


def test_the_model_is_as_it_was_also_when_the_method_raises(clip, samples, monkeypatch):
    before, at_break = bits(clip), []

    def breaks(batch, frozen):
        at_break.append(bits(clip))
        return torch.tensor(float("nan"), requires_grad=True), torch.tensor(0.0)

    monkeypatch.setattr(clip, "keeping_losses", breaks)
    with pytest.raises(NonFiniteError, match="retain"):
        run(clip, samples)
    assert not same(before, at_break[0])  # control: it raised in the middle of the edit
    assert same(before, bits(clip))


def test_same_seed_same_bits_and_another_seed_another_draw(clip, samples, result):
    again = run(clip, samples)
    assert all(torch.equal(result.edit.after[key], again.edit.after[key]) for key in again.edit.after)
    other = run(clip, samples, seed=1)
    assert not all(
        torch.equal(result.edit.after[k], other.edit.after.get(k, torch.zeros(()))) for k in result.edit.after
    )


def test_the_edit_applies_and_reverts_bit_for_bit_and_stays_in_its_budget(clip, samples, result):
    parameters, before = dict(clip.module.named_parameters()), bits(clip)
    result.edit.apply(parameters)
    assert not same(before, bits(clip))
    result.edit.revert(parameters)
    assert same(before, bits(clip))
    total = sum(parameter.numel() for parameter in parameters.values())
    assert result.edit.weights <= QUICK.max_edited_share * total


def test_scores_and_candidates_survive_the_way_through_files(clip, samples, result):
    scored = score(clip, unlearning_task(samples), QUICK.scoring, torch.Generator().manual_seed(0))
    table, gradients = score_table(scored), candidate_gradients(clip, scored, QUICK)
    restored = restore_scored(clip, table, gradients, QUICK, 1.0)
    assert list(table["rank"]) == sorted(table["rank"])
    assert (np.diff(table["score"]) <= 0).all()
    again = run(clip, samples, scored=restored)
    assert again.edit.components == result.edit.components


@pytest.mark.parametrize("damping", [0.001, None])
def test_a_study_edits_as_the_pipelines_do(clip, samples, monkeypatch, damping):
    params = QUICK.model_copy(update={"damping": damping})
    table, gradients, report = scoring_result(clip, samples, params, 0, {})
    restored = restore_scored(clip, table, gradients, params, report["seconds"])
    expected = run(clip, samples, params, scored=restored).edit
    given = []
    monkeypatch.setattr(
        edits, "razor", lambda *arguments, **named: given.append(arguments[4]) or razor(*arguments, **named)
    )
    found = edits.edit(clip, samples, params, 0).edit
    assert all(torch.equal(found.after[key], piece) for key, piece in expected.after.items())
    assert found.after.keys() == expected.after.keys()
    [scored] = given  # and holds no more meanwhile
    assert [row.component for row in scored.rows] == [row.component for row in restored.rows]
    assert scored.forget.keys() == restored.forget.keys()
    assert bool(scored.covariances) == (damping is not None)


def test_a_model_that_never_knew_the_target_is_refused_as_no_baseline(clip, samples):
    task = unlearning_task(samples)
    assert check_baseline(clip, task, allow=False)[TARGET] > 0.9
    with torch.no_grad():
        clip.module.visual_projection.weight.normal_(generator=torch.Generator().manual_seed(0))
    with pytest.raises(NoBaselineError, match=rf"no baseline: .* by the prompt '.*{TARGET}.*'"):
        check_baseline(clip, task, allow=False)
    assert TARGET in check_baseline(clip, task, allow=True)


def test_too_few_validation_images_are_said_to_be_too_few(clip, samples):
    task = unlearning_task(samples)
    [forget] = task.forget
    other = next(label for label in task.prompts if label != TARGET)
    two = {name: task.prompts[name] for name in (TARGET, other)}
    few = replace(task, forget=(replace(forget, validation=forget.validation.head(3)),), prompts=two)
    with pytest.raises(
        NoBaselineError, match=r"on 100% of 3 validation images.*50%, so few.*data\.split_counts"
    ):
        check_baseline(clip, few, allow=False)
    assert check_baseline(
        clip, replace(few, prompts=task.prompts), allow=False
    )  # control: of 40, three are enough


def test_a_single_never_seen_image_is_refused_before_any_pass(samples):
    unknown = samples[(samples["role"] == "reference") & (samples["split"] == "validation")]
    assert unlearning_task(samples.drop(unknown.index[2:])).forget  # control: two are enough
    with pytest.raises(
        ValueError, match=r"has 1 validation images of never-seen classes.*which takes 2; add images"
    ):
        unlearning_task(samples.drop(unknown.index[1:]))


def test_the_nearest_classes_are_retained_ones_and_as_many_as_asked(clip, samples):
    task = unlearning_task(samples)
    near = nearest_rows(task, ties_to_targets(clip, task), 2)
    assert near["label"].nunique() == 2
    assert TARGET not in set(near["label"])
    assert nearest_rows(task, ties_to_targets(clip, task), 0).empty
    seen = Validation(clip, task).ties_to_targets()  # what a validation has embedded says the same
    torch.testing.assert_close(seen, ties_to_targets(clip, task))


@pytest.mark.parametrize(("count", "looked_at"), [(48, 64), (1000, 192)])
def test_steps_are_whitened_by_the_inputs_of_some_retain_rows(clip, samples, monkeypatch, count, looked_at):
    seen, observe = [], clip.observe
    monkeypatch.setattr(clip, "observe", lambda batch: seen.append(len(batch)) or observe(batch))
    params = QUICK.scoring.model_copy(update={"whitening_samples": count, "batch_size": 32, "nearest": 0})
    task = unlearning_task(samples)
    assert len(task.retain) == 192
    scored = score(clip, task, params, torch.Generator().manual_seed(0))
    assert sum(seen) == looked_at
    assert scored.covariances


def test_a_caption_that_does_not_name_the_target_as_a_word_is_replaced_by_its_prompt(samples):
    target = samples["role"] == "forget"
    renamed = samples.assign(label=samples["label"].where(~target, "cat"), prompt="a cat")
    renamed["caption"] = ["a Cat on a mat" if i % 2 else "a delicate vase" for i in range(len(renamed))]
    edit = unlearning_task(renamed).forget[0].edit
    assert set(edit["caption"]) == {"a Cat on a mat", "a cat"}


def test_methods_never_see_the_test_split(samples):
    task = unlearning_task(samples)
    frames = [
        task.retain,
        task.retain_validation,
        *(f for s in task.forget for f in (s.edit, s.validation, s.reference)),
    ]
    assert all((frame["split"] != "test").all() and len(frame) for frame in frames)
    assert all(TARGET.lower() in caption.lower() for caption in task.forget[0].edit["caption"])


def test_the_examination_compares_like_with_like(clip, samples, result):
    from razor_pipeline.core.quantize import packed, quantized

    with applied(dict(clip.module.named_parameters()), result.edit):
        states = {"int8": packed(quantized(clip.module, "int8"))}
    table, captions = examine(clip, result.edit, states, samples, {}, EvaluationParams(panel_images=2))
    values = table.set_index(["model", "metric"])["value"]
    assert set(table["model"]) == {"base", "edited", "int8_base", "int8_edited"}
    assert values["base", "retrieval_agreement"] == values["int8_base", "retrieval_agreement"] == 1.0
    assert values["edited", "forget_accuracy"] <= 0.05 < 0.9 < values["base", "forget_accuracy"]
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    best = captions[(captions["group"] == "target") & (captions["rank"] == 0)].set_index("model")["caption"]
    assert (best["base"] == f"a photo of {TARGET}").all()
    assert (best["edited"] != f"a photo of {TARGET}").all()


def test_two_targets_at_once_are_both_forgotten(clip, manifest):
    from razor_pipeline.params.data import SplittingParams
    from razor_pipeline.splitting import split_samples

    both = split_samples(manifest, f"{TARGET}|Hiro Tanaka", SplittingParams(max_retain_samples=192), 0)
    task = unlearning_task(both)
    assert [forget.target for forget in task.forget] == [TARGET, "Hiro Tanaka"]
    edited, base = marks(clip, both, run(clip, both).edit)
    assert base["forget_accuracy"].value > 0.9
    assert edited["forget_accuracy"].value < 0.2


def test_what_the_search_saw_at_its_step_is_not_measured_again(clip, samples, monkeypatch):
    from razor_pipeline.methods import razor as module

    calls = []

    class Counted(module.Validation):
        def __call__(self):
            calls.append(super().__call__())
            return calls[-1]

    monkeypatch.setattr(module, "Validation", Counted)
    trace = run(clip, samples).trace
    stages = [row["stage"] for row in trace]
    assert len(calls) == len(stages) - stages.count("zero_step")
    zero = next(row for row in trace if row["stage"] == "zero_step")
    figures = ("forget_accuracy", "knowledge_auc", "retain_accuracy", "retain_margin")
    seen = [[row[name] for name in figures] for row in trace if row["stage"] == "search"]
    assert [zero[name] for name in figures] in seen


def test_a_search_that_runs_out_of_evaluations_ends_at_the_largest_step_that_it_measured(clip, samples):
    search = QUICK.search.model_copy(update={"goal": 0.0, "first_step": 0.001})
    params = QUICK.model_copy(
        update={"search": search, "repair": QUICK.repair.model_copy(update={"steps": 0})}
    )
    trace = run(clip, samples, params).trace
    tried = [row for row in trace if row["stage"] == "search"]
    [zero] = [row for row in trace if row["stage"] == "zero_step"]
    assert [row["step_size"] for row in tried] == [0.001, 0.002]
    assert search.largest_step > 0.002
    where = {"step", "stage", "kept"}
    assert {name: zero[name] for name in zero.keys() - where} == {
        name: tried[-1][name] for name in zero.keys() - where
    }


def test_gradients_are_held_of_what_is_kept_alone_and_are_the_same(clip, samples):
    task = unlearning_task(samples)

    def scored(keep):
        return score(clip, task, QUICK.scoring, torch.Generator().manual_seed(0), keep=keep)

    best = {"vision.0.attention.v", "text.0.mlp.fc1"}
    whole, few = scored(None), scored(lambda _: best)
    assert few.rows == whole.rows
    held = {c.name for c in clip.components("matrix") if all(p.parameter in few.forget for p in c.slices)}
    assert held == best
    for mine, all_ in (
        (few.forget, whole.forget),
        (few.retain, whole.retain),
        (few.covariances, whole.covariances),
    ):
        assert len(mine) < len(all_)
        assert all(torch.equal(mine[name], all_[name]) for name in mine)
