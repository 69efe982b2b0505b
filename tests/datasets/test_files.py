"""Single-file datasets: what goes in comes out, and refusals name the file and the fix."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from kedro.io import DatasetError

from razor_pipeline.datasets.files import (
    BytesDataset,
    FileDataset,
    JSONDataset,
    ParquetDataset,
    TensorsDataset,
    TextDataset,
)

CASES: list[tuple[type[FileDataset[Any]], Any]] = [
    (BytesDataset, b"\x00\xff"),
    (JSONDataset, {"z": [1, None, "é"], "a": 0.1}),
    (TextDataset, "Grüße\n"),
    (ParquetDataset, pd.DataFrame({"a": [1, 2], "b": [b"x", b"y"]})),
    (TensorsDataset, {"w": torch.arange(6.0).reshape(2, 3).T, "h": torch.ones(2, dtype=torch.float16)}),
]
NAMES = [kind.__name__ for kind, _ in CASES]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, pd.DataFrame):
        return bool(one.equals(other))
    if isinstance(one, dict) and isinstance(next(iter(one.values())), torch.Tensor):
        return all(torch.equal(one[key], other[key]) and one[key].dtype == other[key].dtype for key in one)
    return bool(one == other)


@pytest.mark.parametrize(("kind", "data"), CASES, ids=NAMES)
def test_what_goes_in_comes_out_and_the_bytes_are_the_same_each_time(
    kind: type[FileDataset[Any]], data: Any, tmp_path: Path
) -> None:
    dataset = kind(filepath=str(tmp_path / "folder" / "file"))
    assert not dataset.exists()
    dataset.save(data)
    first = (tmp_path / "folder/file").read_bytes()
    dataset.save(data)
    assert dataset.exists()
    assert same(data, dataset.load())
    assert (tmp_path / "folder/file").read_bytes() == first


@pytest.mark.parametrize(("kind", "data"), CASES, ids=NAMES)
def test_a_missing_file_is_named_with_the_fix(
    kind: type[FileDataset[Any]], data: Any, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"gone.*run the step that makes it"):
        kind(filepath=str(tmp_path / "gone")).load()


@pytest.mark.parametrize("kind", [JSONDataset, ParquetDataset, TensorsDataset])
@pytest.mark.parametrize("content", [b"", b"\x80\x81"])
def test_an_unreadable_file_is_named_with_the_fix(
    kind: type[FileDataset[Any]], content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(DatasetError, match=r"bad cannot be read as .*delete it"):
        kind(filepath=str(tmp_path / "bad")).load()


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (JSONDataset, {"a": 1.0}, {"a": float("nan")}),
        (TensorsDataset, {"w": torch.ones(2)}, {"w": torch.tensor([1.0, float("inf")])}),
    ],
)
def test_nan_and_inf_are_refused_and_the_old_file_stays(
    kind: type[FileDataset[Any]], good: Any, bad: Any, tmp_path: Path
) -> None:
    dataset = kind(filepath=str(tmp_path / "file"))
    dataset.save(good)
    with pytest.raises(DatasetError):
        dataset.save(bad)
    assert same(good, dataset.load())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_tensor_that_is_not_finite_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"vision\.0\.mlp"):
        TensorsDataset(filepath=str(tmp_path / "file")).save({"vision.0.mlp": torch.tensor([float("nan")])})
