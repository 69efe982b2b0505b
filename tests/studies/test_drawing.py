"""Cells of a model that draws: what a row holds, that the model is left alone, and a sequence of requests."""

import io
from collections import defaultdict
from dataclasses import replace

import pytest
import torch
from families.cases import tiny_pipeline, tiny_pipeline3
from PIL import Image

from razor_pipeline.atelier import generate
from razor_pipeline.core.metrics import Estimate
from razor_pipeline.datasets.retrained import Retrained
from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.diffusion3 import Diffusion3Family
from razor_pipeline.families.drawing_exam import DrawingExam
from razor_pipeline.families.judges import Drawings
from razor_pipeline.families.textual_inversion import WORD
from razor_pipeline.families.vit_pretraining import new_vit
from razor_pipeline.params.data import AtelierParams, SplitCounts, SplittingParams
from razor_pipeline.params.evaluation import DrawingParams
from razor_pipeline.params.pretraining import PretrainingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import ConceptsParams
from razor_pipeline.reporting.sequence import sequence_curve
from razor_pipeline.splitting import split_samples
from razor_pipeline.studies import drawing, sequence
from razor_pipeline.studies.drawing import Drawing, beside
from razor_pipeline.studies.sequence import forget_in_sequence
from razor_pipeline.studies.tables import step_by_step

RAZOR = RazorParams.model_validate(
    {
        "scoring": {"retain_samples": 16},
        "components": 6,
        "max_edited_share": 1.0,
        "search": {"measure": "forget_accuracy", "goal": 0.0},
        "repair": {"steps": 1, "evaluations": 12},
    }
)


@pytest.fixture(scope="module")
def canvas():
    none, counts = SplitCounts(edit=0, validation=0, test=0), SplitCounts(edit=3, validation=1, test=1)
    return generate(AtelierParams(image_size=32, portraits=none, canvas=counts), workers=1)


@pytest.fixture(scope="module")
def subject(canvas):
    """The text encoder is the zoo's; U-Net and judges have random weights: what they see is not what is tested."""
    params = PretrainingParams(image_size=32, vit={"width": 16, "heads": 2, "layers": 1})
    base = DiffusionFamily(tiny_pipeline())
    judges = {name: new_vit(sorted(canvas[name].unique()), params) for name in ("label", "style")}
    drawing = DrawingParams(steps=1, batch_size=64)
    return Drawing(base, judges, drawing, ConceptsParams(protocol="subset", schemes=("int8",)))


def bits(subject):
    return {name: tensor.clone() for name, tensor in subject.base.module.state_dict().items()}


def test_a_row_holds_unlearncanvas_figures_of_edited_and_quantized_model(subject, canvas):
    before = bits(subject)
    row = subject.erase(split_samples(canvas, "cat", SplittingParams(), 0), RAZOR, 0)
    assert {
        "ua",
        "ira",
        "cra",
        "ira_drop",
        "cra_drop",
        "base_ira",
        "int8_ua",
        "int8_ira_drop",
        "ua_encoders_back",
    } <= set(row)
    assert row["stop_reason"] == "target_met"
    assert 0.0 < row["edited_fraction"] <= 1.0
    assert (
        row["no_forget_ua"] == row["no_forget_base_ua"]
    )  # control: with forgetting switched off nothing changes
    assert row["no_forget_ira_drop"] == row["no_forget_cra_drop"] == 0.0
    assert row["ira"] == pytest.approx(row["base_ira"] - row["ira_drop"])
    after = bits(subject)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_quantized_copies_draw_all_that_they_are_asked_to(subject, canvas):
    params = ConceptsParams(protocol="subset", quantized_protocol="unlearncanvas", schemes=("int8",))
    drawing = subject.drawing.model_copy(update={"seeds": (188,)})
    asked = replace(subject, params=params, drawing=drawing, _drawn=defaultdict(dict))
    samples = split_samples(canvas, "cat", SplittingParams(), 0)
    plain = RAZOR.model_copy(update={"objective": RAZOR.objective.model_copy(update={"lambda_f": 0.0})})
    asked.erase(samples, plain, 0)
    subset, all_of_them = (len(asked.exam(samples, name).orders) for name in ("subset", "unlearncanvas"))
    assert len(asked._drawn["base"]) == subset < all_of_them == len(asked._drawn["int8"])


def test_attackers_say_what_they_found_to_the_edited_model_and_invert_the_base_too(
    subject, canvas, monkeypatch
):
    few = {"images": 2, "steps": 1, "batch_size": 2, "seeds": [0]}
    attacks = {"inversion": few, "prompt_search": {**few, "tokens": 2, "exchanges": 2}}
    params = ConceptsParams.model_validate({"protocol": "subset", "schemes": [], **attacks})
    asked = []
    real = DrawingExam._drawn

    def noting(self, family, orders):
        asked.append(set(orders["prompt"]))
        return real(self, family, orders)

    monkeypatch.setattr(DrawingExam, "_drawn", noting)
    owned = []
    for name in ("inverted", "words_before"):
        attack = getattr(drawing, name)
        monkeypatch.setattr(drawing, name, lambda *given, by=attack: owned.append(given[1]) or by(*given))
    row = replace(subject, params=params).erase(split_samples(canvas, "cat", SplittingParams(), 0), RAZOR, 0)
    shares = ("inversion_share", "inversion_share_worst", "base_inversion_share", "prompt_search_share")
    assert all(0.0 <= row[name] <= 1.0 for name in shares)
    [words] = row["prompt_search_words"]
    assert any(all(prompt.startswith(f"{words} ") and "cat" in prompt for prompt in some) for some in asked)
    inverted = [some for some in asked if all(WORD in prompt and "cat" not in prompt for prompt in some)]
    assert len(inverted) == 2  # the edited model and the base
    assert len(owned) == 3
    assert all(set(rows["split"]) == {"test"} for rows in owned)  # new to the edit
    assert all(set(rows["label"]) == {"cat"} for rows in owned)


def test_an_edit_is_held_against_a_model_that_never_saw_the_target(subject, canvas):
    """What else it never saw, object or style, counts for neither of them."""
    few = {"images": 2, "steps": 1, "batch_size": 2, "seeds": [0]}
    params = ConceptsParams.model_validate({"protocol": "subset", "schemes": [], "inversion": few})
    style = sorted(canvas["style"].unique())[0]
    gold = Retrained(DiffusionFamily(tiny_pipeline()), frozenset({"cat", "dog", style}))
    other = Retrained(subject.base, frozenset({"fish"}))
    samples = split_samples(canvas, "cat", SplittingParams(), 0)
    study = replace(subject, params=params, retrained=[other, gold])
    row = study.erase(samples, RAZOR, 0)

    exam = study.exam(samples, "subset")
    [drawn] = [drawn for name, drawn in study._drawn.items() if "'dog'" in name]
    drawings = Drawings.of(
        [drawn[order] for order in zip(exam.orders["prompt"], exam.orders["seed"], strict=True)]
    )
    counted = (~exam.orders["label"].eq("dog") & ~exam.orders["style"].eq(style)).to_numpy()
    right = (drawings.style == exam.orders["style"]).to_numpy() & ~drawings.blank
    assert row["retrained_cra"] == pytest.approx(right[counted & ~exam.forget].mean())
    assert row["inversion_beyond_retrained"] == row["inversion_share"] - row["retrained_inversion_share"]
    assert 0.0 <= row["gap_to_retraining"] <= 1.0

    plain = replace(study, retrained=[other]).erase(
        samples, RAZOR, 0
    )  # control: nothing else knows the target not
    assert not [name for name in plain if "retrain" in name]


def test_a_retrained_model_that_every_prompt_is_unknown_to_is_no_yardstick(subject, canvas, caplog):
    """The target is asked for in one style alone, and that is another thing that it never saw."""
    style = sorted(canvas["style"].unique())[0]
    prompts = [f"A {name} image in {style} style." for name in sorted(canvas["label"].unique())]
    gold = Retrained(DiffusionFamily(tiny_pipeline()), frozenset({"cat", style}))
    params = ConceptsParams(protocol="subset", schemes=())
    study = replace(subject, params=params, retrained=[gold], prompts=prompts)
    row = study.erase(split_samples(canvas, "cat", SplittingParams(), 0), RAZOR, 0)
    assert "is no yardstick" in caplog.text
    assert "gap_to_retraining" not in row
    assert row["ua_drawings"] > 0


def test_the_gap_is_the_mean_of_three_differences():
    def shares(*values):
        names = ("forget_accuracy", "retain_accuracy", "general_accuracy")
        return {name: Estimate(value, 0.0, 1.0, 10) for name, value in zip(names, values, strict=True)}

    row = beside(shares(0.1, 0.8, 0.9), shares(0.0, 0.9, 0.5))
    assert row["gap_to_retraining"] == pytest.approx((0.1 + 0.1 + 0.4) / 3)
    assert row["retrained_ua"] == pytest.approx(0.9)
    assert beside(shares(0.1, 0.8, 0.9), shares(0.1, 0.8, 0.9))["gap_to_retraining"] == 0.0


@pytest.mark.parametrize("attack", ["inversion", "prompt_search"])
def test_attacks_that_another_model_has_no_place_for_are_refused(subject, attack):
    params = ConceptsParams.model_validate({attack: {}})
    replace(subject, params=params)  # control
    with pytest.raises(ValueError, match=rf"concepts.{attack} is set, which .* 'diffusion3' has others"):
        replace(subject, params=params, base=Diffusion3Family(tiny_pipeline3()))


def test_images_that_a_model_can_not_learn_from_are_refused_before_an_edit(subject, canvas, monkeypatch):
    rows = split_samples(canvas, "cat", SplittingParams(), 0)
    file = io.BytesIO()
    Image.new("RGB", (48, 32)).save(file, "PNG")
    first = rows["sample_id"] == rows["sample_id"].iloc[0]
    wide = rows.assign(image_bytes=rows["image_bytes"].where(~first, file.getvalue()))
    begun = []

    def editing(*_):
        begun.append(True)
        raise RuntimeError("the edit has begun")

    monkeypatch.setattr(drawing, "edit", editing)
    with pytest.raises(ValueError, match="48 x 32"):
        subject.erase(wide, RAZOR, 0)
    assert not begun
    with pytest.raises(RuntimeError, match="the edit has begun"):  # control
        subject.erase(rows, RAZOR, 0)


def test_a_sequence_keeps_what_was_forgotten_forgotten_and_leaves_the_model_alone(subject, canvas):
    before = bits(subject)
    targets = ["cat", "fish"]
    rows = forget_in_sequence(subject, canvas, targets, SplittingParams(), RAZOR, 0)
    assert list(rows["step"]) == [1, 2]
    assert list(rows["target"]) == targets
    assert rows["edited_fraction"].is_monotonic_increasing
    assert (rows["ua_worst"] <= rows["ua"] + 1e-9).all()
    assert sequence_curve(rows).startswith(b"\x89PNG")
    text = step_by_step("Requests", rows.assign(seed=0)).splitlines()
    assert [line.split()[1] for line in text[2:4]] == targets
    assert f"{rows['ua_worst'].min():.4f}" in text[4]
    after = bits(subject)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_request_of_a_sequence_is_held_against_the_unedited_model(subject, canvas, monkeypatch):
    """As on a line of requests; control: the model that the second edit starts from is another one."""
    first, seen = bits(subject), []

    def same(model):
        return all(torch.equal(first[name], tensor) for name, tensor in model.module.state_dict().items())

    def watched(base, samples, params, seed, see, original):
        seen.append((same(base), same(original)))
        return made(base, samples, params, seed, see, original)

    made = sequence.edit
    monkeypatch.setattr(sequence, "edit", watched)
    forget_in_sequence(subject, canvas, ["cat", "fish"], SplittingParams(), RAZOR, 0)
    assert seen == [(True, True), (False, True)]


def test_a_base_model_draws_a_prompt_and_seed_once_for_all_targets(subject, canvas):
    exams = [
        subject.exam(split_samples(canvas, name, SplittingParams(), 0), "subset") for name in ("dog", "tree")
    ]
    subject._drawn.clear()
    found = [subject.drawn_once(exam, subject.base, "base") for exam in exams]
    orders = [set(zip(exam.orders["prompt"], exam.orders["seed"], strict=True)) for exam in exams]
    assert set(subject._drawn["base"]) == orders[0] | orders[1]
    assert len(orders[0] & orders[1]) > 10  # control: there was something to save
    alone = exams[1].put_to(subject.base)
    assert list(alone.label) == list(found[1].label)
    assert (abs(alone.features - found[1].features) < 1e-3).all()
