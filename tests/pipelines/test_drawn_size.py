"""Images that a model which draws could not take are refused by their headers, before a weight of it is read."""

from __future__ import annotations

import hashlib
import io
import shutil

import numpy as np
import pandas as pd
import pytest
from families.cases import tiny_pipeline, tiny_pipeline3
from huggingface_hub import constants
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.runner import SequentialRunner
from PIL import Image, ImageFile

from razor_pipeline.atelier import generate
from razor_pipeline.datasets.pretrained import DrawnSizeDataset, PretrainedDataset
from razor_pipeline.datasets.sources import image_captions
from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.diffusion3 import Diffusion3Family
from razor_pipeline.families.drawing_prompts import PromptError
from razor_pipeline.manifest import DataError
from razor_pipeline.params.data import AtelierParams, DataParams, SplitCounts, SplittingParams
from razor_pipeline.pictures import HEADER, Picture, dimensions, pictures
from razor_pipeline.pipelines.splitting import create_pipeline
from razor_pipeline.pipelines.splitting.nodes import split_samples
from razor_pipeline.runner import content

FAMILIES = {"diffusion": (DiffusionFamily, tiny_pipeline), "diffusion3": (Diffusion3Family, tiny_pipeline3)}


@pytest.fixture(scope="module", params=FAMILIES)
def saved(request, tmp_path_factory):
    """Family, directory without a single weight, and the size that the model itself says."""
    kind, build = FAMILIES[request.param]
    family, path = kind(build()), tmp_path_factory.mktemp("models") / request.param
    family.save_pretrained(path)
    for weights in path.rglob("*.safetensors"):
        weights.unlink()
    return request.param, path, family.size


def folder(root, size=(32, 32), odd=None):
    """Two classes of ten noisy images, one of them of another size."""
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for number in range(10):
            width, height = odd if odd and (label, number) == ("dog", 4) else size
            values = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
            Image.fromarray(values).save(root / label / f"{number}.png")
    return root


def split(images, drawn_size):
    """Run the splitting pipeline as a run does; its samples."""
    data, atelier = DataParams(source="folder", path=str(images)), AtelierParams()
    given = {"target": "cat", "data": data, "atelier": atelier, "splitting": SplittingParams(), "seed": 0}
    catalog = DataCatalog(
        {f"params:{name}": MemoryDataset(value) for name, value in given.items()}
        | {"manifest": MemoryDataset(image_captions(data, atelier)[0]), "drawn_size": drawn_size}
        | {"evaluation_prompts": MemoryDataset([])}
    )
    return SequentialRunner().run(create_pipeline(), catalog)["samples"].load()


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        (["A horse image in Mosaic style."], "names no label of the data"),
        (["A dog image in Mosaic style."], "none of the 1 prompts names a target"),
        (["A cat image in Mosaic style."], "all 1 prompts name a target"),
    ],
)
def test_prompts_that_could_not_be_judged_are_refused_where_the_request_is(prompts, sentence):
    counts, none = SplitCounts(edit=1, validation=1, test=1), SplitCounts(edit=0, validation=0, test=0)
    manifest = generate(AtelierParams(image_size=32, portraits=none, canvas=counts), workers=1)

    def asked(prompts):
        return split_samples(manifest, ["cat"], SplittingParams(), 0, None, prompts)

    with pytest.raises(PromptError, match=sentence):
        asked(prompts)
    both = ["A cat image in Mosaic style.", "A dog image in Mosaic style."]
    assert asked(both).equals(asked([]))  # control


@pytest.mark.parametrize("odd", [(16, 16), (48, 32)])
def test_an_image_that_the_model_cannot_take_is_refused_without_its_weights(saved, tmp_path, odd):
    name, path, _ = saved
    sentence = rf"image 'dog/4\.png' has {odd[0]} x {odd[1]} pixels, and the model draws 32 x 32; give square"
    images = folder(tmp_path / "images", odd=odd)
    with pytest.raises(ValueError, match=sentence):
        split(images, DrawnSizeDataset(family=name, source=str(path)))
    assert (
        len(split(images, DrawnSizeDataset(family="clip", source=str(path)))) == 20
    )  # control: draws nothing


@pytest.mark.parametrize("size", [(32, 32), (64, 64)])
def test_square_images_that_are_large_enough_pass(saved, tmp_path, size):
    name, path, _ = saved
    assert (
        len(split(folder(tmp_path / "images", size), DrawnSizeDataset(family=name, source=str(path)))) == 20
    )


def test_the_configurations_say_what_the_model_says(saved):
    name, path, size = saved
    dataset = DrawnSizeDataset(family=name, source=str(path))
    assert dataset.load() == size == 32
    assert DrawnSizeDataset(family="clip", source=str(path)).load() is None
    assert DrawnSizeDataset(family=name, source=str(path / "absent")).load() is None
    assert (
        DrawnSizeDataset(family=name, source="someone/model").load() is None
    )  # not pinned: refused on opening
    with pytest.raises(DatasetError, match=r"is read only; save the model \(int was not saved"):
        dataset.save(32)


def test_a_part_without_configuration_and_another_kind_are_refused(saved, tmp_path):
    name, path, _ = saved
    shutil.copytree(path, tmp_path / "model")
    other = next(family for family in FAMILIES if family != name)
    with pytest.raises(DatasetError, match=rf"does not open as {other}: its model_index\.json says"):
        DrawnSizeDataset(family=other, source=str(path)).load()
    (tmp_path / "model/vae/config.json").unlink()
    with pytest.raises(DatasetError, match=f"does not open as {name}: .*config.json"):
        DrawnSizeDataset(family=name, source=str(tmp_path / "model")).load()


def test_another_size_is_another_input(saved, tmp_path):
    name, path, _ = saved
    shutil.copytree(path, tmp_path / "model")
    dataset = DrawnSizeDataset(family=name, source=str(tmp_path / "model"))
    catalog = DataCatalog({"drawn_size": dataset})
    before = content(catalog, "drawn_size")
    (tmp_path / "model/weights.safetensors").write_bytes(b"other weights")
    assert content(catalog, "drawn_size") == before
    config = tmp_path / "model/vae/config.json"
    config.write_text(config.read_text().replace("block_out_channels", "other"))
    assert content(catalog, "drawn_size") != before
    assert dataset.load() is None  # nothing is guessed


def test_the_configurations_of_a_hub_id_are_fetched_as_the_model_is(saved, tmp_path, monkeypatch):
    """From the hub's own cache, which holds nothing but them."""
    name, path, size = saved
    commit = "a" * 40
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    dataset = DrawnSizeDataset(family=name, source="someone/model", revision=commit)
    with pytest.raises(DatasetError, match=f"'someone/model' does not open as {name}"):
        dataset.load()
    shutil.copytree(path, tmp_path / f"models--someone--model/snapshots/{commit}")
    assert dataset.load() == size
    assert content(DataCatalog({"drawn_size": dataset}), "drawn_size") == repr(dataset)


def test_a_directory_that_is_missing_is_asked_of_no_hub(saved, tmp_path, monkeypatch):
    """As what opens the model decides: the folder that it would lie in is here."""
    name, _, _ = saved
    (tmp_path / "zoo").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert DrawnSizeDataset(family=name, source="zoo/missing", revision="a" * 40).load() is None
    with pytest.raises(DatasetError, match="'zoo/missing' does not exist"):
        PretrainedDataset(family=name, source="zoo/missing", revision="a" * 40).load()


def encoded(kind, **options):
    buffer = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(values).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "PPM"])
def test_a_header_says_the_size_wherever_the_image_lies(tmp_path, kind, monkeypatch):
    data = encoded(kind, quality=95)
    (tmp_path / "shard").write_bytes(b"before" + data + b"after")
    found = Picture(None, str(tmp_path / "shard"), 6, len(data), hashlib.sha256(data).hexdigest())
    assert len(data) > HEADER
    with monkeypatch.context() as patch:
        patch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("it was decoded"))
        if kind != "WEBP":  # whose reader wants the whole file
            patch.setattr(Picture, "read", lambda _: pytest.fail("all of it was read"))
        assert dimensions(found) == (400, 300)
        with pytest.raises(pytest.fail.Exception):  # control
            Image.open(io.BytesIO(encoded("PNG"))).load()


def test_a_header_that_goes_on_is_read_whole_and_a_file_that_is_gone_is_named(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "long " * 13_000
    data = encoded("JPEG", exif=exif, comment=b"x" * 65_000)
    (tmp_path / "a.jpg").write_bytes(data)
    rows = pd.DataFrame(
        {"image_bytes": [None], "image_path": [str(tmp_path / "a.jpg")], "image_offset": 0}
    ).assign(image_size=len(data), sha256=hashlib.sha256(data).hexdigest())
    [found] = pictures(rows)
    assert data.find(b"\xff\xc0") > HEADER
    assert dimensions(found) == (400, 300)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"a\.jpg' cannot be read"):
        dimensions(found)
