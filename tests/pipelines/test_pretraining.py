"""Pretraining: what is excluded is never learnt, the report is what was measured, the result repeats."""

from __future__ import annotations

import pytest
from families.cases import portraits
from kedro.io import DataCatalog, MemoryDataset

from razor_pipeline.datasets.files import ParquetDataset
from razor_pipeline.datasets.retrained import RetrainedDataset, RetrainingReportsDataset
from razor_pipeline.families.pretraining import training_rows, weights_sha256, zero_shot
from razor_pipeline.manifest import DataError, arranged
from razor_pipeline.params.data import DataParams
from razor_pipeline.params.pretraining import PretrainingParams, RetrainingParams
from razor_pipeline.pipelines.pretraining.nodes import train_model
from razor_pipeline.pipelines.retraining import create_pipeline, nodes
from razor_pipeline.pipelines.retraining.nodes import retrain_models
from razor_pipeline.runner import ResumingRunner

PARAMS = PretrainingParams(
    image_size=32,
    epochs=1,
    clip={
        "width": 32,
        "heads": 4,
        "vision_layers": 1,
        "text_layers": 1,
        "projection": 16,
        "vocabulary": 300,
    },
)


def manifest():
    rows = portraits()
    return rows.assign(split=rows["split"].replace("validation", "test"))


@pytest.fixture(scope="module")
def trained():
    return train_model(manifest(), PARAMS)


def test_training_rows_leave_out_strangers_excluded_classes_and_other_splits():
    excluded = PARAMS.model_copy(update={"exclude": ("Ada Moreau",)})
    rows = training_rows(manifest(), excluded)
    assert set(rows["split"]) == {"edit"}
    assert set(rows["role"]) == {"retain"}
    assert "Ada Moreau" not in set(rows["label"])
    assert not rows["caption"].str.contains("Ada Moreau").any()
    assert "Ada Moreau" in set(training_rows(manifest(), PARAMS)["label"])


def test_an_excluded_concept_is_left_out_whichever_of_an_images_two_it_is():
    rows = manifest().assign(style="Ink")
    rows.loc[rows["label"] == "Ada Moreau", "style"] = "Oil"
    left = training_rows(rows, PARAMS.model_copy(update={"exclude": ("Oil",)}))
    assert "Ada Moreau" not in set(left["label"])
    assert len(set(left["label"])) == len(set(training_rows(rows, PARAMS)["label"])) - 1


def test_a_misspelt_or_too_wide_exclusion_is_refused():
    with pytest.raises(DataError, match="'Ada Morau', which is not in the data"):
        training_rows(manifest(), PARAMS.model_copy(update={"exclude": ("Ada Morau",)}))
    everyone = tuple(set(manifest()["label"]))
    with pytest.raises(DataError, match="0 images left to learn from"):
        training_rows(manifest(), PARAMS.model_copy(update={"exclude": everyone}))


def test_the_report_tells_of_the_model(trained):
    report, family, curve = trained
    assert report["sha256"] == weights_sha256(family.module, family.stored_dtype)
    assert report["excluded"] == []
    assert report["parameters"] == sum(p.numel() for p in family.module.parameters())
    figure = report["zero_shot"]["portraits_label"]
    known = manifest()[(manifest()["role"] != "reference") & (manifest()["split"] == "test")]
    assert figure["n"] == len(known)
    assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
    assert list(curve["epoch"]) == [0]


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(trained):
    again, other = (train_model(manifest(), PARAMS.model_copy(update={"seed": seed}))[0] for seed in (11, 12))
    assert again["sha256"] == trained[0]["sha256"]
    assert other["sha256"] != trained[0]["sha256"]


def test_a_classifier_learns_its_classes():
    classes = arranged(manifest(), DataParams(captions="class"))
    few = classes[classes["label"].isin(classes["label"].unique()[:2])]
    params = PretrainingParams(
        family="vit",
        image_size=32,
        epochs=60,
        batch_size=8,
        precision="float32",
        vit={"width": 32, "heads": 2, "layers": 1},
    )
    report, family, curve = train_model(few, params)
    assert family.name == "vit"
    assert sorted(family.place) == sorted(set(few["label"]))
    assert curve["loss"].iloc[-1] < 0.7 * curve["loss"].iloc[0]
    assert report["zero_shot"]["portraits_label"]["n"] == 4
    assert report["pretraining"]["family"] == "vit"


def test_a_classifier_keeps_the_output_of_a_class_that_it_was_not_taught():
    classes = arranged(manifest(), DataParams(captions="class"))
    few = classes[classes["label"].isin(classes["label"].unique()[:3])]
    gone = few["label"].iloc[0]
    params = PretrainingParams(
        family="vit",
        image_size=32,
        epochs=1,
        batch_size=8,
        vit={"width": 32, "heads": 2, "layers": 1},
        exclude=(gone,),
    )
    report, family, _ = train_model(few, params)
    assert gone in family.place
    assert report["images"] == 8
    assert report["excluded"] == [gone]


class Oracle:
    """Answers with the prompt that it is told to find, right or wrong."""

    def __init__(self, answers):
        self.answers = answers

    def batches(self, rows, _size):
        return [self.answers(rows)]

    def scores(self, batches, prompts):
        import torch

        return torch.tensor([[float(prompt == wanted) for prompt in prompts] for wanted in batches[0]])


def test_an_object_counts_when_the_style_is_wrong_and_the_other_way_round():
    import pandas as pd

    rows = pd.DataFrame(
        [(f"A {o} image in {s} style.", o, s) for o in ("cat", "dog") for s in ("Ink", "Oil")],
        columns=["prompt", "label", "style"],
    ).assign(domain="canvas", split="test")
    wrong_style = zero_shot(Oracle(lambda r: [f"A {o} image in Ink style." for o in r["label"]]), rows)
    assert wrong_style["canvas_label"]["value"] == 1.0
    assert wrong_style["canvas_style"]["value"] == 0.5
    right = zero_shot(Oracle(lambda r: list(r["prompt"])), rows)
    assert right["canvas_style"]["value"] == 1.0


def test_every_gold_standard_is_trained_without_its_group_and_keeps_its_outputs():
    classes = arranged(manifest(), DataParams(captions="class"))
    names = list(classes.loc[classes["role"] == "retain", "label"].unique()[:4])
    few = classes[classes["label"].isin(names)]
    params = PretrainingParams(
        family="vit", image_size=32, epochs=1, batch_size=8, vit={"width": 16, "heads": 2, "layers": 1}
    )
    groups = {"a": (names[0], names[1]), "b": (names[2],)}
    params, longer = params.model_copy(update={"epochs": 9}), {"epochs": 1, "vit": {"width": 8}}
    found = retrain_models(few, params, RetrainingParams(groups=groups, differences=longer), {})
    made = {name: one for part in found for name, one in part.items()}
    assert {name: tuple(report["excluded"]) for name, (_, report) in made.items()} == {
        name: tuple(sorted(group)) for name, group in groups.items()
    }
    assert [report["images"] for _, report in made.values()] == [
        int((~few["label"].isin(group) & (few["split"] == "edit")).sum()) for group in groups.values()
    ]
    assert all(set(model.place) == set(names) for model, _ in made.values())  # asked the same questions
    trained = [report["pretraining"] for _, report in made.values()]
    assert [(one["epochs"], one["vit"]["width"], one["vit"]["heads"]) for one in trained] == [(1, 8, 2)] * 2


def test_gold_standards_are_refused_before_the_first_is_trained_or_saved_one_by_one(monkeypatch):
    begun = []

    def training(rows, params):
        begun.append(params.exclude)
        return {}, "model", None

    monkeypatch.setattr(nodes, "train_model", training)
    groups = {"a": ("Ada Moreau",), "b": ("Bruno Kelle",)}
    with pytest.raises(DataError, match="'Bruno Kelle', which is not in the data"):
        next(retrain_models(manifest(), PARAMS, RetrainingParams(groups=groups), {}))
    assert begun == []
    with pytest.raises(ValueError, match=r"retraining\.groups is empty"):
        next(retrain_models(manifest(), PARAMS, RetrainingParams(), {}))
    found = retrain_models(manifest(), PARAMS, RetrainingParams(groups=groups | {"b": ("Bruno Keller",)}), {})
    assert next(found)["a"][0] == "model"
    assert begun == [("Ada Moreau",)]  # the second waits until the first is saved
    assert next(found)["b"][0] == "model"


def test_a_retraining_that_was_killed_goes_on_with_what_is_not_saved(tmp_path, monkeypatch):
    classes = arranged(manifest(), DataParams(captions="class"))
    names = list(classes.loc[classes["role"] == "retain", "label"].unique()[:3])
    tiny = {"family": "vit", "image_size": 32, "epochs": 1, "vit": {"width": 8, "heads": 2, "layers": 1}}
    groups = {"a": names[:1], "b": names[1:2]}
    rows = ParquetDataset(filepath=str(tmp_path / "manifest.parquet"))
    rows.save(classes[classes["label"].isin(names)])
    begun, killed = [], [names[1]]

    def training(rows, params):
        begun.append(params.exclude[0])
        if params.exclude[0] in killed:
            raise KeyboardInterrupt
        return train_model(rows, params)

    def run(**differences):
        begun.clear()
        gold = {
            "retrained_models": RetrainedDataset(folder=str(tmp_path / "gold"), family="vit"),
            "retraining_reports": RetrainingReportsDataset(folder=str(tmp_path / "gold")),
        }
        catalog = DataCatalog(
            {
                "manifest": rows,
                "params:pretraining": MemoryDataset(PretrainingParams.model_validate(tiny)),
                "params:retraining": MemoryDataset(RetrainingParams(groups=groups, differences=differences)),
                **gold,
            }
        )
        ResumingRunner().run(create_pipeline(), catalog)
        assert [gold.excluded for gold in gold["retrained_models"].load()] == [{names[0]}, {names[1]}]
        return list(begun)

    monkeypatch.setattr(nodes, "train_model", training)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert begun == names[:2]
    killed.clear()
    assert run() == names[1:2]
    assert run() == []
    config = tmp_path / "gold/b/config.json"
    config.write_text(config.read_text() + " ")  # no longer what was saved
    assert run() == names[1:2]
    assert run(seed=12) == names[:2]
    rows.save(rows.load().iloc[1:])
    assert run(seed=12) == names[:2]
