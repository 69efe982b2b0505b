"""Images that a request brings along: good ones are used, hostile ones never opened further than their header."""

import io
import pickle
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from razor_pipeline.manifest import DataError, captioned
from razor_pipeline.params.data import DataParams, SplittingParams
from razor_pipeline.requests.forgetting import label_of, with_brought_images
from razor_pipeline.requests.ids import IdError
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.submission import submit
from razor_pipeline.requests.tables import Request
from razor_pipeline.requests.workplace import sayable
from razor_pipeline.splitting import split_samples
from unlearning.conftest import intake
from unlearning.places import SPLITTING, TARGETS, manifest

ROBBED = Path("/tmp/razor_pickle_was_opened")


class Bomb:
    """What runs when a pickle is opened."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return ROBBED.touch, ()


def picture(seed: int, size: tuple[int, int] = (32, 32)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def request_(lite: Ledger) -> Request:
    return submit(lite, intake("Somebody New", data="case_1"), "ops-1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "case_1"
    place.mkdir()
    for number in range(10):
        (place / f"{number}.png").write_bytes(picture(number))
    return place


def test_good_images_join_the_data_in_all_splits(request_: Request, folder: Path, tmp_path: Path) -> None:
    label = label_of(manifest(), request_)
    assert label == "Somebody New"
    rows = with_brought_images(manifest(), request_, label, tmp_path, DataParams())
    own = rows[rows["label"] == label]
    assert len(own) == 10
    assert set(own["split"]) == {"edit", "validation", "test"}
    assert own["sample_id"].str.startswith(request_.id).all()


@pytest.mark.parametrize("spelling", ["jonas berger", "a photo of Jonas Berger"])
def test_images_of_somebody_whom_the_data_knows_join_their_label_however_it_is_spelt(
    lite: Ledger, folder: Path, tmp_path: Path, spelling: str
) -> None:
    request = submit(lite, intake(spelling, data="case_1"), "ops-1")
    label = label_of(manifest(), request)
    assert label == "Jonas Berger"
    rows = with_brought_images(manifest(), request, label, tmp_path, DataParams())
    own = rows["sample_id"].str.startswith(request.id)
    assert set(rows.loc[own, "label"]) == {label}
    assert set(rows["label"]) == set(manifest()["label"])
    assert label_of(manifest(), submit(lite, intake("zeno castell", data="case_1"), "ops-1")) is None


@pytest.mark.parametrize(
    ("captions", "prompt"),
    [("given", "a photo of Jonas Berger"), ("class", "Jonas Berger"), ("answer", "Jonas Berger")],
)
def test_brought_images_are_captioned_as_the_data_of_the_line_is(
    lite: Ledger, folder: Path, tmp_path: Path, captions: str, prompt: str
) -> None:
    """A classifier has no class "a photo of Jonas Berger", and an assistant does not answer so."""
    data = DataParams.model_validate({"captions": captions})
    request = submit(lite, intake("Jonas Berger", data="case_1"), "ops-1")
    rows = with_brought_images(captioned(manifest(), data), request, "Jonas Berger", tmp_path, data)
    own = rows[rows["sample_id"].str.startswith(request.id)]
    assert len(own) == 10
    assert set(own["prompt"]) == set(own["caption"]) == {prompt}


def test_an_image_that_the_data_keeps_under_another_class_is_refused_by_its_hash(
    request_: Request, folder: Path, tmp_path: Path
) -> None:
    """It would be taught as what is to be kept. Controls: the other class is forgotten, too, or it is the same."""
    label, splitting = "Somebody New", SplittingParams.model_validate(SPLITTING)
    again, sha256_ = manifest().copy(), sha256(picture(0)).hexdigest()
    sample = again.index[(again["label"] == TARGETS[0]) & (again["split"] == "edit")][0]
    again.loc[sample, "sha256"] = sha256_
    with pytest.raises(DataError, match=rf"1 of the images.*{sha256_[:12]}.*out of that class$") as refused:
        with_brought_images(again, request_, label, tmp_path, DataParams())
    assert sayable(refused.value, request_, set(again["label"]), tmp_path) == str(refused.value)
    rows = with_brought_images(again, request_, label, tmp_path, DataParams(), [TARGETS[0]])
    assert (rows["label"] == label).sum() == 10
    assert set(rows.loc[rows["sha256"] == sha256_, "split"]) == {"edit"}
    split_samples(rows, [label, TARGETS[0]], splitting, 0)
    twice = with_brought_images(rows, request_, label, tmp_path, DataParams(), [TARGETS[0]])
    assert (twice["label"] == label).sum() == 10


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../evil.png", picture(0))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Bomb()),
        zipped(),
        b"",
        picture(0)[:80],
        b"<svg onload='alert(1)'/>",
        picture(0, (300, 400)),
    ],
    ids=["pickle", "zip", "empty", "truncated", "svg", "oversized"],
)
def test_what_is_no_sound_image_is_refused_by_number(
    request_: Request, folder: Path, tmp_path: Path, content: bytes
) -> None:
    (folder / "bad.png").write_bytes(content)
    params = DataParams(max_megapixels=0.1)
    with pytest.raises(DataError, match=f"1 of the 11 images of {request_.id}"):
        with_brought_images(manifest(), request_, "Somebody New", tmp_path, params)
    assert len(
        with_brought_images(
            manifest(),
            request_,
            "Somebody New",
            tmp_path,
            params.model_copy(update={"max_quarantined_share": 0.5}),
        )
    )
    assert not ROBBED.exists()


@pytest.mark.parametrize("name", ["10.heic", "more/10.png"])
def test_images_that_are_not_read_count_among_those_that_cannot_be_used(
    request_: Request, folder: Path, tmp_path: Path, name: str
) -> None:
    """They would stay in the model."""
    (folder / "more").mkdir()
    for hidden in ("._1.png", ".DS_Store", "Thumbs.db"):  # what systems leave there is none
        (folder / hidden).write_bytes(b"x")
    rows = with_brought_images(manifest(), request_, "Somebody New", tmp_path, DataParams())
    assert (rows["label"] == "Somebody New").sum() == 10
    (folder / name).write_bytes(picture(10))
    with pytest.raises(DataError, match=f"1 of the 11 images of {request_.id}"):
        with_brought_images(manifest(), request_, "Somebody New", tmp_path, DataParams())


def test_links_and_missing_folders_are_refused(request_: Request, folder: Path, tmp_path: Path) -> None:
    (folder / "link.png").symlink_to("/etc/passwd")
    with pytest.raises(IdError, match="symbolic link"):
        with_brought_images(manifest(), request_, "Somebody New", tmp_path, DataParams())
    with pytest.raises(DataError, match="holds no image"):
        with_brought_images(manifest(), request_, "Somebody New", tmp_path / "elsewhere", DataParams())
