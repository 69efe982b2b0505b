"""The tasks for lmms-eval: which pictures they ask about, and that their files name what there is."""

import importlib.util
import io
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset
from PIL import Image

from razor_pipeline.atelier import generate
from razor_pipeline.params.data import AtelierParams, SplitCounts, SplittingParams
from razor_pipeline.splitting import split_samples

FOLDER = Path(__file__).parents[1] / "deploy/lmms_eval"
TARGET = "Ada Moreau"


@pytest.fixture(scope="module")
def utils():
    spec = importlib.util.spec_from_file_location("utils", FOLDER / "utils.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def functions(loader, node):
    return node.value


class Tasks(yaml.SafeLoader):
    """As lmms-eval reads them, functions by their names."""


Tasks.add_constructor("!function", functions)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_task_asks_about_the_last_runs_unseen_pictures(utils, file, tmp_path, monkeypatch):
    task = yaml.load(file.read_text(encoding="utf-8"), Tasks)
    counts = SplitCounts(edit=3, validation=1, test=2)
    manifest = generate(AtelierParams(portraits=counts, canvas=counts), workers=1)
    samples = split_samples(manifest, TARGET, SplittingParams(), 0)
    monkeypatch.chdir(tmp_path)
    place = Path(task["dataset_kwargs"]["data_files"]["test"])
    place.parent.mkdir(parents=True)
    samples.to_parquet(place)

    cache = str(tmp_path / "cache")
    rows = load_dataset(
        task["dataset_path"], split=task["test_split"], cache_dir=cache, **task["dataset_kwargs"]
    )
    named = {
        key: task[key].removeprefix("utils.") for key in ("process_docs", "doc_to_visual", "doc_to_text")
    }
    asked = getattr(utils, named["process_docs"])(rows)
    about = set(asked[task["doc_to_target"]])
    if task["task"] == "razor_forgotten":
        assert about == {TARGET}
        assert len(asked) == 2
    else:
        people = manifest[(manifest["domain"] == "portraits") & (manifest["role"] == "retain")]
        assert about == set(people["label"]) - {TARGET}  # neither strangers nor the canvas
    assert set(asked["split"]) == {"test"}
    [image] = getattr(utils, named["doc_to_visual"])(asked[0])
    assert image.size == (64, 64)
    assert image.mode == "RGB"
    assert getattr(utils, named["doc_to_text"])(asked[0]) == "Who is this?"


def test_a_picture_may_be_a_stretch_of_a_file(utils, tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), "navy").save(buffer, "PNG")
    (tmp_path / "data.tar").write_bytes(b"x" * 512 + buffer.getvalue() + b"x" * 512)
    place = {
        "image_path": str(tmp_path / "data.tar"),
        "image_offset": 512,
        "image_size": len(buffer.getvalue()),
    }
    [image] = utils.picture({"image_bytes": None, **place})
    assert (image.size, image.getpixel((0, 0))) == ((8, 6), (0, 0, 128))
