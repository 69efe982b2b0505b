"""A study on an assistant: what a row says of an edit."""

import pandas as pd
import pytest
from families.cases import CASES

from razor_pipeline.core.metrics import Estimate
from razor_pipeline.datasets.retrained import Retrained
from razor_pipeline.families.question_exam import QuestionExam
from razor_pipeline.params.data import SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.peers import FinetuneParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import BenchmarkParams, RelearningParams, StudyParams
from razor_pipeline.pipelines.benchmark.nodes import compare_methods
from razor_pipeline.splitting import split_samples
from razor_pipeline.studies.assistant import compare
from razor_pipeline.studies.relearning import Relearning
from razor_pipeline.studies.subjects import naming

VLM = next(case for case in CASES if case.name == "vlm")


def marks(**values):
    named = {
        "forget_accuracy": 1.0,
        "forget_accuracy_leading": 1.0,
        "retain_accuracy": 0.98,
        "general_accuracy": 0.97,
        "neutral_hat": 0.96,
        "neutral_style": 0.99,
        "degenerate_share": 0.0,
    }
    return {name: Estimate(value, value, value, 100) for name, value in (named | values).items()}


def test_a_row_has_drops_the_worst_category_and_what_is_still_named():
    edited = marks(
        forget_accuracy=0.02, forget_accuracy_leading=0.02, neutral_hat=0.91, degenerate_share=0.01
    )
    row = compare(edited, marks())
    assert row["edited_forget_accuracy_leading"] == 0.02
    assert row["neutral_worst_drop"] == pytest.approx(0.05)
    assert row["neutral_style_drop"] == 0.0
    assert row["degenerate_rise"] == pytest.approx(0.01)
    assert row["retain_drop"] == 0.0
    assert "near_twin_drop" not in row  # what was not measured is left out


def test_the_worst_category_is_not_hidden_by_one_that_rose():
    """Control: the mean over categories would say that nothing was lost."""
    row = compare(marks(neutral_hat=0.90, neutral_style=1.05), marks())
    assert row["neutral_worst_drop"] == pytest.approx(0.06)


def test_an_assistants_edit_is_held_against_one_that_never_saw_the_person(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    edit, held = VLM.samples("edit", 4), VLM.samples("validation", 4)
    place = held.groupby("label").cumcount()
    held = held.assign(split=["validation" if one == 0 else "test" for one in place])
    target, other, *_ = sorted(set(edit["label"]))
    manifest = pd.concat([edit, held], ignore_index=True)
    left_out = []
    real = QuestionExam.mark

    def noting(self, *args, **options):
        left_out.append(set(options.get("leave_out", ())))
        return real(self, *args, **options)

    monkeypatch.setattr(QuestionExam, "mark", noting)
    rows, table, page = compare_methods(
        VLM.build(),
        manifest,
        [Retrained(VLM.build(), frozenset({target, other}))],
        {},
        SplittingParams(),
        RazorParams(),
        EvaluationParams(questions={"per_category": 2}),
        BenchmarkParams(
            targets=(target,),
            seeds=(0,),
            schemes=(),
            relearning=None,
            methods=("ga",),
            peers={"ga": FinetuneParams(objective="ga", epochs=1, learning_rates=(1e-5,))},
        ),
    )
    assert left_out.count({other}) == 2  # of the retrained model and of the edited one
    [row] = rows.to_dict("records")
    assert "failed" not in row
    assert 0.0 <= row["gap_to_retraining"] <= 1.0
    told = {"neutral_drop", "degenerate_rise", "retrained_forget_accuracy", "retrained_target_neutral_drop"}
    assert told <= set(row)
    assert set(table["method"]) == {"retrain", "ga"}
    assert "Ranked by the gap to retraining" in page
    assert "neutral questions, drop" in page


def test_an_assistants_relearning_is_held_against_the_retrained_models(monkeypatch):
    steps = iter([7, 4, 5])
    monkeypatch.setattr(Relearning, "__call__", lambda *_: next(steps))
    edit, held = VLM.samples("edit", 4), VLM.samples("validation", 4)
    place = held.groupby("label").cumcount()
    held = held.assign(split=["validation" if one == 0 else "test" for one in place])
    target = sorted(set(edit["label"]))[0]
    samples = split_samples(pd.concat([edit, held], ignore_index=True), [target], SplittingParams(), 0)
    params = StudyParams(targets=(target,), schemes=(), relearning=RelearningParams())
    gold = [Retrained(VLM.build(), frozenset({target}))]
    subject = naming(VLM.build(), gold, EvaluationParams(questions={"per_category": 2}), params)
    row = subject.erase(samples, FinetuneParams(objective="ga", epochs=1, learning_rates=(1e-5,)), 0)
    assert (row["retrained_relearn_steps"], row["relearn_steps"], row["relearn_margin"]) == (7, 4, -3)
    # Of another seed the gold standard's are known, and the edited model alone is asked; control: two were, before.
    again = subject.erase(samples, FinetuneParams(objective="ga", epochs=1, learning_rates=(1e-5,)), 1)
    assert (again["retrained_relearn_steps"], again["relearn_steps"], again["relearn_margin"]) == (7, 5, -2)
