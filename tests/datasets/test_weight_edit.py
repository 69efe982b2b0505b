"""Weight edits on disk: exact, whole or not at all, and noticed when altered."""

import json
from pathlib import Path

import pytest
import torch
from kedro.io import DatasetError
from safetensors.torch import load_file, save_file

from razor_pipeline.core.components import ParameterSlice
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.datasets.weight_edit import MANIFEST, TENSORS, WeightEditDataset, load_edit

PARTS = (ParameterSlice("q.weight", 0, 2, 4), ParameterSlice("fc.bias"))


def edit(value: float = 1.0) -> WeightEdit:
    before = {PARTS[0].key: torch.zeros(2, 3, dtype=torch.float16), PARTS[1].key: torch.arange(4.0)}
    after = {key: tensor + value for key, tensor in before.items()}
    return WeightEdit(PARTS, before, after, ("head", "bias"), {"seed": 3, "targets": ["Ada Moreau"]})


@pytest.fixture
def dataset(tmp_path: Path) -> WeightEditDataset:
    return WeightEditDataset(filepath=str(tmp_path / "edit"))


def test_it_reloads_bit_for_bit(dataset: WeightEditDataset) -> None:
    dataset.save(edit())
    found, wanted = dataset.load(), edit()
    assert (found.slices, found.components, found.manifest) == (
        wanted.slices,
        wanted.components,
        wanted.manifest,
    )
    for state in ("before", "after"):
        one, other = getattr(found, state), getattr(wanted, state)
        assert one.keys() == other.keys()
        assert all(one[key].dtype == other[key].dtype and torch.equal(one[key], other[key]) for key in one)


def test_the_manifest_hashes_every_tensor_and_nothing_else_lies_there(dataset: WeightEditDataset) -> None:
    dataset.save(edit())
    assert sorted(path.name for path in dataset.path.iterdir()) == [MANIFEST, TENSORS]
    manifest = json.loads((dataset.path / MANIFEST).read_text())
    assert manifest["sha256"].keys() == load_file(dataset.path / TENSORS).keys()


def test_an_altered_weight_is_named(dataset: WeightEditDataset) -> None:
    dataset.save(edit())
    tensors = load_file(dataset.path / TENSORS)
    tensors["after/fc.bias"][0] += 1e-6
    save_file(tensors, dataset.path / TENSORS)
    with pytest.raises(DatasetError, match=r"'after/fc\.bias' is not the tensor that was saved"):
        dataset.load()


def test_a_weight_that_was_added_or_taken_away_is_named(dataset: WeightEditDataset) -> None:
    dataset.save(edit())
    tensors = load_file(dataset.path / TENSORS)
    for changed, name in (
        ({**tensors, "after/extra": torch.ones(1)}, "after/extra"),
        ({key: value for key, value in tensors.items() if key != "before/fc.bias"}, "before/fc.bias"),
    ):
        save_file(changed, dataset.path / TENSORS)
        with pytest.raises(DatasetError, match=f"'{name}'"):
            dataset.load()


@pytest.mark.parametrize("name", [TENSORS, MANIFEST])
@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_a_missing_or_broken_file_is_one_sentence(
    dataset: WeightEditDataset, name: str, content: bytes | None
) -> None:
    dataset.save(edit())
    (dataset.path / name).unlink() if content is None else (dataset.path / name).write_bytes(content)
    said = f"has no {name}; name the directory" if content is None else "copy it again"
    with pytest.raises(DatasetError, match=f"is no weight edit.*{said}"):
        dataset.load()


@pytest.mark.parametrize("content", ["{}", "[]", '{"sha256": {}}'])
def test_a_manifest_of_something_else_is_refused(dataset: WeightEditDataset, content: str) -> None:
    dataset.save(edit())
    (dataset.path / MANIFEST).write_text(content)
    with pytest.raises(DatasetError, match="is no weight edit"):
        load_edit(dataset.path)


def test_nan_is_refused_by_name_and_the_old_edit_stays(dataset: WeightEditDataset) -> None:
    dataset.save(edit())
    with pytest.raises(DatasetError, match=r"fc\.bias|q\.weight"):
        dataset.save(edit(float("nan")))
    assert torch.equal(dataset.load().after["fc.bias"], edit().after["fc.bias"])
    assert [path.name for path in dataset.path.parent.iterdir()] == ["edit"]
