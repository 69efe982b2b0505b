"""The attacks on CLIP and ViT: they recover what only seems to be forgotten, and leave every model as it was."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from families.cases import CASES

from razor_pipeline.atelier import generate
from razor_pipeline.core.attacks.relearning import steps_to
from razor_pipeline.core.weight_edit import applied
from razor_pipeline.datasets.retrained import Retrained, RetrainedDataset
from razor_pipeline.families import ClipFamily, VitFamily
from razor_pipeline.families.naming_exam import NamingExam
from razor_pipeline.manifest import arranged
from razor_pipeline.methods.simulated_attacker import SimulatedAttacker
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.methods.validation import Validation
from razor_pipeline.params.data import AtelierParams, DataParams, SplitCounts, SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.peers import FinetuneParams
from razor_pipeline.params.razor import ResistParams
from razor_pipeline.params.studies import RelearningParams, RobustnessParams
from razor_pipeline.reporting.robustness import recovery_figure, render_robustness
from razor_pipeline.splitting import split_samples
from razor_pipeline.studies import prompt_attackers
from razor_pipeline.studies.attack_summary import as_lines, attack_summary, headlines, long_table, recovered
from razor_pipeline.studies.attackers import Attacker
from razor_pipeline.studies.controls import last_layer, masked
from razor_pipeline.studies.prompt_attackers import PromptAttacker, descriptions
from razor_pipeline.studies.recognition import Recognition
from razor_pipeline.studies.relearning import Relearning
from razor_pipeline.studies.robustness import AttackError, Robustness
from razor_pipeline.studies.subjects import naming

ZOO = Path(__file__).parents[2] / "data" / "01_raw" / "zoo"
TARGET = "Greta Novak"
PARAMS = RobustnessParams.model_validate(
    {
        "schemes": ["int4"],
        "attacks": {
            "shots": [4],
            "steps": 8,
            "learning_rate": 3e-4,
            "benign_rows": 32,
            "benign_batch": 16,
            "inversion_steps": 40,
        },
    }
)
QUICK = FinetuneParams(objective="ga", epochs=1, learning_rates=(3e-4,))
BOTH = ["masked", "last_layer"]


@pytest.fixture(scope="module")
def samples():
    counts = SplitCounts(edit=8, validation=2, test=5)
    manifest = generate(AtelierParams(portraits=counts, canvas=SplitCounts(edit=1, validation=0, test=0)))
    params = SplittingParams(max_retain_samples=120, max_validation_samples=48)
    return split_samples(manifest, TARGET, params, 0)


@pytest.fixture(scope="module")
def clip():
    return ClipFamily.from_pretrained(str(ZOO / "clip"))


@pytest.fixture(scope="module")
def row(clip, samples):
    gold = RetrainedDataset(folder=str(ZOO), family="clip").load()
    before = {key: tensor.clone() for key, tensor in clip.module.state_dict().items()}
    found = Robustness(clip, gold, PARAMS).erase(samples, QUICK, 0)
    assert all(torch.equal(before[key], tensor) for key, tensor in clip.module.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in clip.module.parameters())
    return found


@pytest.fixture(scope="module")
def findings(row):
    return long_table(pd.DataFrame([{"target": TARGET, "seed": 0, **row}]))


@pytest.fixture(scope="module")
def table(findings):
    return attack_summary(headlines(findings))


def test_a_control_seems_to_have_forgotten_and_keeps_the_rest(clip, samples):
    task = unlearning_task(samples)
    base, hidden = Validation(clip, task)(), Validation(masked(clip, task), task)()
    assert base.forget_accuracy > 0.9
    assert hidden.forget_accuracy == 0.0
    assert hidden.retain_accuracy >= base.retain_accuracy
    edit = last_layer(clip, task)
    with applied(dict(clip.module.named_parameters()), edit):
        outcome = Validation(clip, task)()
    assert outcome.forget_accuracy == 0.0
    assert outcome.retain_accuracy > base.retain_accuracy - 0.3
    assert all("projection" in part.parameter for part in edit.slices)


def test_every_model_is_attacked_and_only_edits_are_scaled_back(findings):
    assert set(findings["model"]) == {"base", "edited", "retrained", "masked", "last_layer"}
    scaled = findings[findings["attack"] == "scaled_back"]
    assert set(scaled["model"]) == {"edited", "last_layer"}
    assert findings.groupby("model")["attack"].nunique().min() >= 12
    curve = findings[(findings["attack"] == "relearn_4") & (findings["model"] == "edited")]
    assert list(curve["step"]) == list(range(9))


@pytest.mark.parametrize(
    ("attack", "controls"),
    [
        *[(a, BOTH) for a in ("relearn_4", "tune_edited", "probe", "inversion")],
        ("scaled_back", ["last_layer"]),
        *[(a, ["masked"]) for a in ("paraphrase", "name_part", "description")],
    ],
)
def test_an_attack_recovers_what_only_seems_to_be_forgotten(table, attack, controls):
    """Words get past a mask on words; where the images' side was moved, they are no attack."""
    found = {name: figures["mean"] for name, figures in table.items() if name.endswith(attack)}
    assert set(controls) <= set(recovered(table, attack)), found


def test_the_base_knows_and_the_retrained_model_does_not(table):
    assert table["base_none"]["mean"] > 0.9
    assert table["retrained_none"]["mean"] == 0.0
    assert table["retrained_relearn_4"]["mean"] < table["base_relearn_4"]["mean"]
    assert table["retrained_absolute_leakage"]["mean"] == 0.0  # it is the yardstick


def test_what_does_not_recover_a_control_is_reported_as_such(table, findings):
    """Rounding takes no notice of a change of this size."""
    assert recovered(table, "int4") == []
    line = next(line for line in as_lines("title", table).splitlines() if line.startswith("int4 "))
    assert line.endswith("no control")
    page = render_robustness(findings, table)
    assert "of the edit undone" in page
    assert any(line.startswith("scaled_back") for line in as_lines("title", table).splitlines())
    assert '<span class="no">none</span>' in page
    assert "http" not in page.replace("http-equiv", "")
    assert recovery_figure(findings).startswith(b"\x89PNG")


def test_relearning_is_one_attack_in_both_studies_whatever_images_it_is_given(samples):
    [gold] = [
        found.model
        for found in RetrainedDataset(folder=str(ZOO), family="clip").load()
        if TARGET in found.excluded
    ]
    attacks = PARAMS.attacks.model_copy(update={"shots": (8,)})
    attacker = Attacker(samples, attacks, (), 0)
    drawn, attacker.images = attacker.images, attacker.members
    curve = [row["value"] for row in attacker._relearn(gold, "relearn_8", 8, None)]
    params = RelearningParams(images=8, steps=8, learning_rate=attacks.learning_rate)
    steps = Relearning(NamingExam(gold, samples), samples, params)(gold)
    assert steps == steps_to(curve, params.threshold)
    assert 0 < steps < len(curve)  # control: it takes some, and is not cut off
    assert list(drawn["sample_id"]) != list(attacker.members["sample_id"])  # the draws do differ


def test_the_attack_on_an_edit_has_images_that_its_simulated_attacker_had_not(samples):
    own = samples[(samples["label"] == TARGET) & (samples["split"] == "edit")]
    family = ClipFamily.from_pretrained(str(ZOO / "clip"))
    attack = Relearning(NamingExam(family, samples), samples, RelearningParams(images=4))
    simulated = own.head(4)
    assert len(attack.shots) == 4
    assert not set(attack.shots["sample_id"]) & set(simulated["sample_id"])
    assert len(own) == 8  # control: enough for both


def test_an_attacker_has_as_many_images_as_it_says_whatever_number_of_captions_they_have(samples, clip):
    """Four rows of one image would be an attacker who has one, and no measure of one who has four."""
    several = [
        samples.assign(caption=samples["caption"] + f", {i}", sample_id=samples["sample_id"] + f" {i}")
        for i in "123"
    ]
    rows = pd.concat([samples, *several]).sort_values("sha256", ignore_index=True)
    attacker, task = Attacker(rows, PARAMS.attacks, (), 0), unlearning_task(rows)
    attack = Relearning(NamingExam(clip, rows), rows, RelearningParams(images=4))
    simulated = SimulatedAttacker(clip, task, ResistParams(images=4))
    for shown in (attacker.images.head(4), attacker.unseen, attack.shots, attack.unseen):
        assert shown["sha256"].is_unique
        assert len(shown) >= 4
    [shot] = simulated.shots
    assert len({tuple(image.flatten().tolist()) for image in shot.batch.pixel_values_B3HW}) == 4
    validation = Validation(clip, task)
    assert validation.count == Validation(clip, unlearning_task(samples)).count
    assert len(task.forget[0].edit) == 4 * 8  # control: each caption is learnt from


def test_a_description_is_what_captions_say_without_the_name():
    rows = pd.DataFrame(
        [("Ada", "a photo of ADA"), ("Ada", "a photo of a person with red hair"), ("Bob", "Bob")],
        columns=["label", "caption"],
    )
    assert descriptions(rows, ["Ada", "Bob"]) == {"Ada": "person with red hair"}


def test_a_name_within_another_word_is_none():
    rows = pd.DataFrame(
        {"label": ["cat", "cat"], "caption": ["a photo of a cat", "a photo of a delicate paw"]}
    )
    assert descriptions(rows, ["cat"]) == {"cat": "delicate paw"}


def test_a_model_that_draws_or_answers_is_refused(samples):
    class Other:
        name = "vlm"
        origin: dict[str, str] = {}

    with pytest.raises(AttackError, match=r"family vlm; .* make evaluate-vlm"):
        Robustness(Other(), [], PARAMS).erase(samples, QUICK, 0)


def test_what_a_model_names_in_images_is_no_study_of_one_that_draws():
    cases = {case.name: case for case in CASES}
    with pytest.raises(ValueError, match=r"family 'diffusion' draws, .*make evaluate-diffusion"):
        naming(cases["diffusion"].build(), [], EvaluationParams(), PARAMS)
    assert isinstance(naming(cases["clip"].build(), [], EvaluationParams(), PARAMS), Recognition)  # control


@pytest.fixture(scope="module")
def classifier_table():
    """A classifier, attacked by images and by its weights."""
    counts = SplitCounts(edit=4, validation=1, test=2)
    none = SplitCounts(edit=0, validation=0, test=0)
    manifest = arranged(generate(AtelierParams(portraits=none, canvas=counts)), DataParams(captions="class"))
    rows = split_samples(
        manifest, "cat", SplittingParams(max_retain_samples=120, max_validation_samples=48), 0
    )
    vit = VitFamily.from_pretrained(str(ZOO / "vit_objects"))
    before = {key: tensor.clone() for key, tensor in vit.module.state_dict().items()}
    gold = [Retrained(vit, frozenset({"cat"})), Retrained(vit, frozenset({"dog"}))]
    ascent = QUICK.model_copy(update={"epochs": 3, "learning_rates": (1e-3,)})
    harder = PARAMS.attacks.model_copy(update={"learning_rate": 1e-3})
    params = PARAMS.model_copy(update={"attacks": harder})
    found = Robustness(vit, gold, params).erase(rows, ascent, 0)
    assert all(torch.equal(before[key], tensor) for key, tensor in vit.module.state_dict().items())
    findings = long_table(pd.DataFrame([{"target": "cat", "seed": 0, **found}]))
    return attack_summary(headlines(findings))


def test_a_classifier_is_attacked_by_all_that_needs_no_words(classifier_table):
    attacks = {name.removeprefix("edited_") for name in classifier_table if name.startswith("edited_")}
    assert {"relearn_4", "tune_edited", "benign", "scaled_back", "membership", "probe", "int4"} <= attacks
    assert not attacks & {"paraphrase", "misspelling", "name_part", "description", "inversion"}
    assert classifier_table["edited_none"]["mean"] < 0.5 < classifier_table["base_none"]["mean"]
    # control: what stands here for a retrained model has seen the target
    same = ("none", "relearn_4", "membership", "probe")
    assert all(classifier_table[f"retrained_{a}"] == classifier_table[f"base_{a}"] for a in same)


@pytest.mark.parametrize(("attack", "controls"), [("relearn_4", BOTH), ("membership", []), ("probe", BOTH)])
def test_an_attack_recovers_what_a_classifier_only_seems_to_have_forgotten(
    classifier_table, attack, controls
):
    assert classifier_table["masked_none"]["mean"] == 0.0
    assert recovered(classifier_table, attack) == controls


def test_words_are_not_attacked_where_labels_are_codes(samples):
    """All wordings would be one text, and the class that comes first in the table would win; control: names."""
    codes = {label: f"n{number:08d}" for number, label in enumerate(sorted(samples["label"].unique()))}
    attacker = PromptAttacker(samples, PARAMS.attacks, [], 0)
    coded = PromptAttacker(samples.assign(label=samples["label"].map(codes)), PARAMS.attacks, [], 0)
    assert {"paraphrase", "misspelling", "name_part"} == set(attacker.forms())
    assert coded.forms() == {}


def test_an_attacker_may_have_more_images_than_a_batch(clip, samples, monkeypatch):
    attacker = PromptAttacker(samples, PARAMS.attacks, [], 0)
    monkeypatch.setattr(prompt_attackers, "FORWARD_BATCH", 3)
    assert attacker._invert(clip) == 1.0  # the base knows the target
