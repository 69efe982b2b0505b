"""The list of refused files is there for whoever has to repair them, also when they are too many."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from PIL import Image

from razor_pipeline.datasets import images
from razor_pipeline.datasets.files import ParquetDataset
from razor_pipeline.datasets.sound_images import SoundImagesDataset
from razor_pipeline.hooks import QuarantineHooks
from razor_pipeline.manifest import QuarantineError
from razor_pipeline.params.data import AtelierParams, DataParams
from razor_pipeline.pipelines.dataset_preparation import create_pipeline
from razor_pipeline.runner import ResumingRunner, content
from razor_pipeline.settings import HOOKS

BAD = 7


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten sound images of one class and seven files that are none."""
    root = tmp_path / "photos"
    (root / "a").mkdir(parents=True)
    for i in range(10):
        Image.new("L", (4, 4), 20 * i).save(root / f"a/{i}.png")
    for i in range(BAD - 1):
        (root / f"a/bad{i}.png").write_bytes(b"x")
    (root / "a/clip.gif").write_bytes(b"x")
    return root


def prepare(root: Path, quarantine: Path, *hooks: object) -> None:
    """Run the step as `kedro run` does."""
    manager = _create_hook_manager()
    for hook in hooks:
        manager.register(hook)
    catalog = DataCatalog(
        {
            "params:data": MemoryDataset(DataParams(source="folder", path=str(root))),
            "params:atelier": MemoryDataset(AtelierParams()),
            "sound_images": SoundImagesDataset(filepath=str(quarantine.with_name("sound_images.json"))),
            "manifest": ParquetDataset(filepath=str(quarantine.with_name("manifest.parquet"))),
            "quarantine": ParquetDataset(filepath=str(quarantine)),
        }
    )
    ResumingRunner().run(create_pipeline(), catalog, hook_manager=manager)


def test_too_many_bad_files_are_all_listed_where_the_error_says(folder: Path, tmp_path: Path) -> None:
    assert any(isinstance(hook, QuarantineHooks) for hook in HOOKS)
    place = tmp_path / "quarantine.parquet"
    with pytest.raises(QuarantineError, match=r"7 of 17 images cannot be used") as caught:
        prepare(folder, place, QuarantineHooks())
    assert str(caught.value).endswith(f"or raise the share; all are listed in {place}")
    listed = pd.read_parquet(place)
    names = {"clip.gif", *(f"bad{i}.png" for i in range(BAD - 1))}
    assert {Path(path).name for path in listed["image_path"]} == names
    assert listed["reason"].str.len().min() > 0
    assert not (tmp_path / "manifest.parquet").exists()


def test_control_without_the_hook_nothing_is_listed(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(QuarantineError) as caught:
        prepare(folder, tmp_path / "quarantine.parquet")
    assert "listed in" not in str(caught.value)
    assert not (tmp_path / "quarantine.parquet").exists()


def test_a_list_that_cannot_be_written_does_not_hide_the_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "quarantine.parquet").mkdir()
    with pytest.raises(QuarantineError, match="7 of 17 images cannot be used") as caught:
        prepare(folder, tmp_path / "quarantine.parquet", QuarantineHooks())
    assert "listed in" not in str(caught.value)


def test_another_error_writes_no_list(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        prepare(tmp_path / "nowhere", tmp_path / "quarantine.parquet", QuarantineHooks())
    assert not (tmp_path / "quarantine.parquet").exists()


def test_a_second_run_remakes_the_manifest_and_decodes_what_is_new(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bad in (*folder.glob("a/bad*"), folder / "a/clip.gif"):
        bad.unlink()
    decoded: list[object] = []
    really = images.upright
    monkeypatch.setattr(images, "upright", lambda image: (decoded.append(1), really(image))[1])
    prepare(folder, tmp_path / "quarantine.parquet")
    first = (tmp_path / "manifest.parquet").read_bytes()
    (tmp_path / "manifest.parquet").unlink()
    assert len(decoded) == 10
    prepare(folder, tmp_path / "quarantine.parquet")
    assert (tmp_path / "manifest.parquet").read_bytes() == first
    assert len(decoded) == 10
    Image.new("L", (4, 4), 250).save(folder / "a/new.png")
    prepare(folder, tmp_path / "quarantine.parquet")
    assert len(decoded) == 11
    assert len(pd.read_parquet(tmp_path / "manifest.parquet")) == 11


def test_no_step_runs_again_for_what_is_known_to_be_sound(tmp_path: Path) -> None:
    catalog = DataCatalog({"sound_images": SoundImagesDataset(filepath=str(tmp_path / "sound.json"))})
    before = content(catalog, "sound_images")
    catalog.load("sound_images").keep(["ab"], 1.0)
    assert content(catalog, "sound_images") == before
