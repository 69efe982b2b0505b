"""Model directories: exact reload, whole or not at all, and refusals before anything is loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from families.cases import CASES, tiny_pipeline
from kedro.io import DataCatalog, DatasetError
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPModel

from razor_pipeline.datasets.pretrained import JudgesDataset, PretrainedDataset
from razor_pipeline.datasets.retrained import RetrainedDataset
from razor_pipeline.families import ClipFamily, DiffusionFamily, VitFamily
from razor_pipeline.families.vit_pretraining import new_vit
from razor_pipeline.params.pretraining import PretrainingParams
from razor_pipeline.runner import content


def dataset(source: Path | str, revision: str | None = None) -> PretrainedDataset:
    return PretrainedDataset(family="clip", source=str(source), revision=revision)


def tiny() -> ClipFamily:
    built = CASES[0].build()
    assert isinstance(built, ClipFamily)
    return built


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "clip"
    model = tiny()
    model.card = "# A card\n"
    dataset(path).save(model)
    return path


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path / "clip")
    return tmp_path / "clip"


def test_it_reloads_bit_for_bit_and_opens_with_plain_from_pretrained(saved: Path) -> None:
    wanted = tiny().module.state_dict()
    for found in (dataset(saved).load().module, CLIPModel.from_pretrained(saved)):
        state = found.state_dict()
        assert state.keys() == wanted.keys()
        assert all(torch.equal(state[name], wanted[name]) for name in wanted)


def test_half_precision_stays_half_on_disk(tmp_path: Path) -> None:
    model = tiny()
    half = ClipFamily(model.module.half(), model.tokenizer, model.image_processor)
    dataset(tmp_path / "half").save(half)
    assert CLIPModel.from_pretrained(tmp_path / "half").dtype == torch.float16
    assert dataset(tmp_path / "half").load().stored_dtype == torch.float16


def test_the_card_is_saved_and_the_origin_has_the_hash_of_the_weights(saved: Path, copied: Path) -> None:
    assert (saved / "README.md").read_text() == "# A card\n"
    origin = dataset(saved).load().origin
    assert (origin["family"], origin["id"]) == ("clip", str(saved))
    assert len(origin["sha256"] or "") == 64
    (copied / "README.md").unlink()
    assert dataset(copied).load().origin["sha256"] == origin["sha256"]  # the card is no weight


def test_a_revision_is_said_of_no_directory(saved: Path) -> None:
    assert dataset(saved, "a" * 40).load().origin == dataset(saved).load().origin
    assert dataset(saved).load().origin["revision"] is None


def test_a_save_that_fails_keeps_the_old_model(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {file.name: file.read_bytes() for file in copied.iterdir()}
    model = tiny()
    monkeypatch.setattr(model.tokenizer, "save_pretrained", lambda _: 1 / 0)
    with pytest.raises(DatasetError):
        dataset(copied).save(model)
    assert {file.name: file.read_bytes() for file in copied.iterdir()} == before
    assert [path.name for path in copied.parent.iterdir()] == ["clip"]


def test_pickled_weights_are_refused(copied: Path) -> None:
    torch.save({"w": torch.ones(1)}, copied / "pytorch_model.bin")
    (copied / "model.safetensors").unlink()
    with pytest.raises(DatasetError, match="pickled weights are refused"):
        dataset(copied).load()


@pytest.mark.parametrize("part", ["config.json", "preprocessor_config.json", "tokenizer_config.json"])
def test_a_missing_part_is_named(copied: Path, part: str) -> None:
    (copied / part).unlink()
    with pytest.raises(DatasetError, match=f"lacks {part}"):
        dataset(copied).load()


def test_a_tokenizer_without_its_words_is_refused(copied: Path) -> None:
    (copied / "tokenizer.json").unlink()
    # Control: transformers opens it, and knows no word.
    assert len(AutoTokenizer.from_pretrained(copied)) < len(tiny().tokenizer) / 2
    with pytest.raises(DatasetError, match=r"lacks tokenizer\.json or vocab\.json; copy the whole directory"):
        dataset(copied).load()


def test_a_weight_of_another_shape_than_the_configuration_says_is_named(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    config["projection_dim"] *= 2
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        DatasetError, match=r"weight \w+_projection.weight has the shape \[.*\] and its config.json"
    ):
        dataset(copied).load()


def test_a_processor_that_was_saved_whole_will_do(copied: Path) -> None:
    """As newer releases of transformers save a CLIPProcessor."""
    told = json.loads((copied / "preprocessor_config.json").read_text())
    (copied / "preprocessor_config.json").unlink()
    (copied / "processor_config.json").write_text(
        json.dumps({"image_processor": told, "processor_class": "CLIPProcessor"})
    )
    model = dataset(copied).load()
    assert isinstance(model, ClipFamily)
    assert list(model.image_processor.image_mean) == list(told["image_mean"])


@pytest.mark.parametrize("kept", [1000, -1000], ids=["within its header", "within its tensors"])
def test_a_truncated_weight_file_is_named(copied: Path, kept: int) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(DatasetError, match=rf"does not open as clip: {weights} is cut off.*copy or fetch it"):
        dataset(copied).load()


def test_a_pointer_of_git_lfs_is_no_weight_file(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1234\n")
    with pytest.raises(DatasetError, match=rf"{weights} is .*a pointer of Git LFS.*copy or fetch it again"):
        dataset(copied).load()


def test_a_model_of_another_family_is_refused(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    with pytest.raises(
        DatasetError, match="does not open as clip: its configuration says 'bert', and no family"
    ):
        dataset(copied).load()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_checkpoint_is_names_the_families_that_open_it(tmp_path: Path, case: Any) -> None:
    """A classifier has no tokenizer either, which is no part to bring."""
    model = case.build()
    PretrainedDataset(family=model.name, source=str(tmp_path / "model")).save(model)
    PretrainedDataset(family=model.name, source=str(tmp_path / "model")).check()
    other = "vit" if model.name == "clip" else "clip"
    with pytest.raises(
        DatasetError, match=rf"does not open as {other}: .* is of the family .*\b{model.name}\b.*; name"
    ):
        PretrainedDataset(family=other, source=str(tmp_path / "model")).check()


def test_a_check_reads_no_weights(copied: Path) -> None:
    (copied / "model.safetensors").write_bytes(b"")
    dataset(copied).check()
    with pytest.raises(DatasetError, match="is cut off"):
        dataset(copied).load()


def test_missing_weights_are_named_and_not_drawn_at_random(copied: Path) -> None:
    tensors = load_file(copied / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DatasetError, match=r"lack visual_projection\.weight"):
        dataset(copied).load()


def test_remote_code_never_runs(copied: Path, tmp_path: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(
        json.dumps({**config, "auto_map": {"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"}})
    )
    (copied / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    dataset(copied).load()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("source", ["data/none/clip", "models", "/nowhere/at/all"])
def test_a_source_that_does_not_exist_is_refused(source: str) -> None:
    with pytest.raises(DatasetError, match=f"{source}' does not exist.*pretraining"):
        dataset(source).load()


@pytest.mark.parametrize("revision", [None, "main", "abc123"])
def test_a_hub_id_needs_a_pinned_commit(revision: str | None) -> None:
    with pytest.raises(DatasetError, match="pin it to a commit of 40 hex digits"):
        dataset("openai/clip-vit-large-patch14", revision).load()


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"model\.family is 'clap'; it must be one of clip"):
        PretrainedDataset(family="clap", source="x")


@pytest.mark.parametrize(
    ("family", "trained"), [("clip", "clip"), ("diffusion_deep", "diffusion"), ("vit", "vit")]
)
def test_what_is_trained_goes_where_its_kind_is(tmp_path: Path, family: str, trained: str) -> None:
    PretrainedDataset(family=family, source=str(tmp_path / "new")).check_takes(trained)


@pytest.mark.parametrize(
    ("family", "trained"), [("diffusion_deep", "clip"), ("vit", "clip"), ("diffusion", "vit")]
)
def test_a_training_that_would_write_over_another_kind_is_refused(family: str, trained: str) -> None:
    with pytest.raises(DatasetError, match=f"family is '{trained}', but .* of the family '{family}'"):
        PretrainedDataset(family=family, source="data/01_raw/zoo/clip").check_takes(trained)


def test_a_training_on_own_images_does_not_replace_a_model_of_the_zoo(tmp_path: Path) -> None:
    zoo = PretrainedDataset(family="vit", source="data/01_raw/zoo/vit_objects")
    with pytest.raises(
        DatasetError, match=r"is of the zoo, and a training on '/my/cats'.*name a new directory"
    ):
        zoo.check_takes("vit", "/my/cats")
    zoo.check_takes("vit")  # control: as `make zoo` trains it
    PretrainedDataset(family="vit", source=str(tmp_path / "new")).check_takes("vit", "/my/cats")


def test_what_is_trained_goes_to_no_hub(tmp_path: Path) -> None:
    """A directory of that name would be opened ever after in place of what is pinned."""
    with pytest.raises(DatasetError, match="is a hub id, and what is trained here needs a directory"):
        dataset("openai/clip-vit-large-patch14", "a" * 40).check_takes("clip")
    dataset(str(tmp_path / "clip"), "a" * 40).check_takes("clip")  # control: named in its place


def test_what_is_trained_does_not_replace_a_model_that_came_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    dataset(str(tmp_path / "clip")).check_takes("clip")  # control: nothing is in it
    (tmp_path / "clip/model.safetensors").touch()
    with pytest.raises(DatasetError, match="would be written over, and was not trained here"):
        dataset(str(tmp_path / "clip")).check_takes("clip")
    (tmp_path / "clip.json").write_text("{}", encoding="utf-8")
    dataset(str(tmp_path / "clip")).check_takes("clip")  # control: one that a training left, with its report


def test_judges_are_loaded_by_name_and_never_written(tmp_path):
    params = PretrainingParams(image_size=32, vit={"width": 16, "heads": 2, "layers": 1})
    PretrainedDataset(family="vit", source=str(tmp_path / "objects")).save(new_vit(["cat", "dog"], params))
    judges = JudgesDataset(sources={"objects": str(tmp_path / "objects")})
    found = judges.load()
    assert set(found["objects"].place) == {"cat", "dog"}
    assert found["objects"].origin["sha256"]
    with pytest.raises(DatasetError, match="judges are read only; train a classifier"):
        judges.save(found)
    assert JudgesDataset(sources={}).load() == {}
    before = content(DataCatalog({"judges": judges}), "judges")
    PretrainedDataset(family="vit", source=str(tmp_path / "objects")).save(new_vit(["cat", "cow"], params))
    assert content(DataCatalog({"judges": judges}), "judges") != before  # another judge, other results
    with pytest.raises(DatasetError, match="does not exist"):
        JudgesDataset(sources={"objects": str(tmp_path / "absent")}).load()


def test_gold_standards_of_another_family_are_left(tmp_path):
    params = PretrainingParams(image_size=32, vit={"width": 16, "heads": 2, "layers": 1})
    PretrainedDataset(family="vit", source=str(tmp_path / "gold")).save(new_vit(["cat", "dog"], params))
    report = {"excluded": ["cat"], "pretraining": {"family": "vit"}}
    (tmp_path / "gold.json").write_text(json.dumps(report))
    assert [gold.excluded for gold in RetrainedDataset(folder=str(tmp_path), family="vit").load()] == [
        {"cat"}
    ]
    assert RetrainedDataset(folder=str(tmp_path), family="clip").load() == []
    (tmp_path / "gold.json").write_text(
        json.dumps({"excluded": ["cat"]})
    )  # of before there were other families
    assert RetrainedDataset(folder=str(tmp_path), family="vit").load() == []


def test_a_gold_standard_that_is_not_the_one_its_report_tells_of_is_left_and_said(tmp_path, caplog):
    """As after a kill between the two renames of a training again: the report may be of one that saw other classes."""
    params = PretrainingParams(image_size=32, vit={"width": 16, "heads": 2, "layers": 1})
    gold = RetrainedDataset(folder=str(tmp_path), family="vit")
    told = {"excluded": ["cat"], "pretraining": {"family": "vit"}}
    gold.save({"a": (new_vit(["cat", "dog"], params), told)})
    assert [one.excluded for one in gold.load()] == [{"cat"}]  # control
    PretrainedDataset(family="vit", source=str(tmp_path / "a")).save(new_vit(["cow", "dog"], params))
    assert gold.load() == []
    assert "is not the model that a.json tells of" in caplog.text


def test_the_origin_tells_two_families_of_one_directory_apart(tmp_path):
    """Studies keep a cell by it."""
    PretrainedDataset(family="diffusion", source=str(tmp_path / "sd")).save(DiffusionFamily(tiny_pipeline()))
    shallow, deep = (
        PretrainedDataset(family=family, source=str(tmp_path / "sd")).load().origin
        for family in ("diffusion", "diffusion_deep")
    )
    assert shallow != deep
    assert {**shallow, "family": "diffusion_deep"} == deep


def test_a_model_that_is_edited_in_two_depths_has_the_gold_standards_of_its_kind(tmp_path):
    PretrainedDataset(family="diffusion", source=str(tmp_path / "gold")).save(
        DiffusionFamily(tiny_pipeline())
    )
    report = {"excluded": ["cat"], "pretraining": {"family": "diffusion"}}
    (tmp_path / "gold.json").write_text(json.dumps(report))
    found = {
        family: [gold.model.name for gold in RetrainedDataset(folder=str(tmp_path), family=family).load()]
        for family in ("diffusion", "diffusion_deep", "diffusion3_deep", "vit")
    }
    assert found == {
        "diffusion": ["diffusion"],
        "diffusion_deep": ["diffusion_deep"],
        "diffusion3_deep": [],
        "vit": [],
    }


@pytest.fixture(scope="module")
def classifier() -> VitFamily:
    return new_vit(
        ["cat", "dog"],
        PretrainingParams(image_size=32, vit={"width": 16, "heads": 2, "layers": 1}),
    )


WITHOUT_CAT = {"excluded": ["cat"], "pretraining": {"family": "vit"}}


def test_gold_standards_are_saved_and_found(tmp_path, caplog, classifier):
    folder = RetrainedDataset(folder=str(tmp_path / "gold"), family="vit")
    assert folder.load() == []
    assert "does not exist, so no gap to retraining is measured" in caplog.text
    folder.save({"a": (classifier, WITHOUT_CAT), "b": (classifier, {**WITHOUT_CAT, "excluded": ["dog"]})})
    found = folder.load()
    assert [gold.excluded for gold in found] == [{"cat"}, {"dog"}]
    assert all(gold.model.origin["sha256"] for gold in found)
    folder.save({"c": (classifier, WITHOUT_CAT)})
    assert len(folder.load()) == 3  # those of other groups stay


def test_what_else_lies_in_a_folder_of_gold_standards_stays(tmp_path, classifier):
    PretrainedDataset(family="vit", source=str(tmp_path / "vit_objects")).save(classifier)
    (tmp_path / "vit_objects.json").write_text(json.dumps({"excluded": [], "seconds": 1}))
    (tmp_path / "notes.txt").write_text("x")
    kept = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    folder = RetrainedDataset(folder=str(tmp_path), family="vit")
    for excluded in (["cat"], ["dog"]):  # made, then replaced
        folder.save({"a": (classifier, {**WITHOUT_CAT, "excluded": excluded})})
        assert [gold.excluded for gold in folder.load()] == [set(excluded)]
    with pytest.raises(DatasetError, match=r"vit_objects is there already and is no gold standard"):
        folder.save({"b": (classifier, WITHOUT_CAT), "vit_objects": (classifier, WITHOUT_CAT)})
    with pytest.raises(DatasetError, match=r"vit_objects is there already and is no gold standard"):
        folder.check_takes(["b", "vit_objects"])
    folder.check_takes(["a", "b"])
    assert {file: file.read_bytes() for file in kept} == kept
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a", "a.json", "notes.txt", "vit_objects", "vit_objects.json"]


def test_a_gold_standard_that_cannot_be_saved_keeps_the_one_before(tmp_path, classifier, monkeypatch):
    folder = RetrainedDataset(folder=str(tmp_path), family="vit")
    folder.save({"a": (classifier, WITHOUT_CAT)})
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    monkeypatch.setattr(classifier.image_processor, "save_pretrained", lambda _: 1 / 0)
    with pytest.raises(DatasetError):
        folder.save({"a": (classifier, {**WITHOUT_CAT, "excluded": ["dog"]})})
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_half_a_report_of_a_killed_process_is_no_gold_standard(tmp_path, classifier):
    folder = RetrainedDataset(folder=str(tmp_path), family="vit")
    folder.save({"a": (classifier, WITHOUT_CAT)})
    (tmp_path / ".writing-1-b.json").write_text('{"excl')
    assert len(folder.load()) == 1
