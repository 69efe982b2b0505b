"""Data sets that Hugging Face's datasets saved: real ones, whose images stay in their Arrow files."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value
from datasets import Image as ImageColumn
from datasets.arrow_writer import ArrowWriter
from PIL import Image

from razor_pipeline.datasets.saved import list_saved
from razor_pipeline.datasets.sources import image_captions, listing
from razor_pipeline.manifest import COLUMNS, DataError
from razor_pipeline.params.data import AtelierParams, DataParams
from razor_pipeline.pictures import opened, pictures

ATELIER = AtelierParams()
FEATURES = Features(
    {
        "photo": ImageColumn(),
        "label": ClassLabel(names=["cat", "dog", "cow"]),
        "caption": Value("string"),
        "style": Value("string"),
        "width": Value("int64"),
    }
)


def image(seed):
    buffer = io.BytesIO()
    values = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def table(count=30):
    return {
        "photo": [{"bytes": image(number), "path": f"{number}.png"} for number in range(count)],
        "label": [number % 3 for number in range(count)],
        "caption": [f"photo {number}" for number in range(count)],
        "style": ["ink" if number % 2 else "oil" for number in range(count)],
        "width": [8] * count,
    }


def saved(path, columns=None, features=FEATURES, **options):
    Dataset.from_dict(columns or table(), features=features).save_to_disk(path, **options)
    return path


def read(path, **options):
    return image_captions(DataParams(source="datasets", path=str(path), **options), ATELIER)


def test_rows_point_to_where_their_images_lie_in_the_arrow_files(tmp_path):
    manifest, quarantine = read(saved(tmp_path / "d", num_shards=2))
    assert list(manifest.columns) == list(COLUMNS)
    assert quarantine.empty
    assert manifest["label"].value_counts().to_dict() == {"cat": 10, "dog": 10, "cow": 10}
    assert manifest["image_bytes"].isna().all()
    assert {path.rpartition("/")[2] for path in manifest["image_path"]} == {
        "data-00000-of-00002.arrow",
        "data-00001-of-00002.arrow",
    }
    for row, found in zip(manifest.itertuples(), pictures(manifest), strict=True):
        number = int(row.sample_id.removesuffix(".png"))
        assert (row.caption, row.label) == (f"photo {number}", ["cat", "dog", "cow"][number % 3])
        assert row.style == ("ink" if number % 2 else "oil")
        assert found.read() == image(number)
    assert opened(pictures(manifest.head(1)))[0].size == (8, 8)


def test_a_selection_and_many_small_batches_keep_images_with_their_captions(tmp_path):
    chosen = Dataset.from_dict(table(), features=FEATURES).select(range(29, 3, -2))
    saved_rows, _ = list_saved(_written(chosen, tmp_path / "d"))
    for row in saved_rows.itertuples():
        with Path(row.image_path).open("rb") as file:
            file.seek(row.image_offset)
            assert file.read(row.image_size) == image(int(row.caption.split()[1]))
    assert len(saved_rows) == 13


def _written(dataset, path):
    """Saved with a batch for every two rows."""
    dataset.save_to_disk(path)
    [file] = path.glob("*.arrow")
    with ArrowWriter(path=str(file), features=FEATURES, embed_local_files=True) as writer:
        for batch in dataset.with_format("arrow").iter(2):
            writer.write_table(batch)
        writer.finalize()
    return path


def test_an_image_that_changed_since_is_noticed(tmp_path):
    manifest, _ = read(saved(tmp_path / "d"))
    [file] = (tmp_path / "d").glob("*.arrow")
    data = bytearray(file.read_bytes())
    data[manifest["image_offset"][0] + 60] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(DataError, match="is not what the manifest was made from"):
        pictures(manifest)[0].read()


def test_the_listing_names_the_classes_and_opens_no_image(tmp_path):
    columns = table() | {"photo": [{"bytes": b"no image", "path": None}] * 30}
    data = DataParams(source="datasets", path=str(saved(tmp_path / "d", columns)), reference_labels=("cow",))
    told = listing(data, ATELIER)
    assert set(told["label"]) == {"cat", "dog", "cow"}
    assert set(told.loc[told["label"] == "cow", "role"]) == {"reference"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"bytes": image(99)[:60], "path": "bad.png"}, "is damaged"),
        ({"bytes": b"no image", "path": "bad.png"}, "is no JPEG"),
        ({"bytes": b"", "path": "bad.png"}, "is empty"),
        (None, "has no image"),
    ],
)
def test_a_bad_image_goes_to_quarantine_with_its_row_and_reason(tmp_path, bad, reason):
    columns = table(31)
    columns["photo"][7] = bad
    path = saved(tmp_path / "d", columns)
    manifest, quarantine = read(path)
    assert len(manifest) == 30
    assert quarantine["image_path"].tolist()[0].startswith(f"{path}, row 7, ")
    assert reason in quarantine["reason"].iloc[0]
    assert [found.read() for found in pictures(manifest)].count(
        image(8)
    ) == 1  # the others stay in their places
    with pytest.raises(DataError, match=r"1 of 31 images cannot be used.*row 7"):
        read(path, max_quarantined_share=0.03)


def test_where_a_path_alone_was_saved_the_row_points_to_that_file(tmp_path):
    """As versions wrote them that left files where they were."""
    path = saved(tmp_path / "d")
    (path / "photos").mkdir()
    columns = table()
    for number in range(30):
        (path / f"photos/{number}.png").write_bytes(image(number))
        columns["photo"][number] = {"bytes": None, "path": f"photos/{number}.png"}
    (path / "photos/29.png").unlink()
    [file] = path.glob("*.arrow")
    features = FEATURES | {"photo": ImageColumn(decode=False)}
    with ArrowWriter(path=str(file), features=Features(features), embed_local_files=False) as writer:
        writer.write_batch(columns)
        writer.finalize()
    manifest, quarantine = read(path)
    assert set(manifest["image_path"]) == {str(path / f"photos/{number}.png") for number in range(29)}
    assert all(found.read() in map(image, range(29)) for found in pictures(manifest))
    assert quarantine["reason"].tolist() == ["does not exist"]


def test_texts_and_numbers_are_labels_too_and_an_unlabelled_row_is_refused(tmp_path):
    features = FEATURES | {"label": Value("int64")}
    rows, _ = list_saved(saved(tmp_path / "numbers", features=Features(features)))
    assert set(rows["label"]) == {"0", "1", "2"}
    columns = table()
    columns["label"][4] = None
    with pytest.raises(DataError, match=r"1 rows have no label, e\.g\. 4\.png"):
        read(saved(tmp_path / "d", columns))


def test_a_given_split_stays(tmp_path):
    columns = table() | {"split": ["edit"] * 10 + ["validation"] * 10 + ["test"] * 10}
    manifest, _ = read(saved(tmp_path / "d", columns, Features(FEATURES | {"split": Value("string")})))
    assert manifest["split"].value_counts().to_dict() == {"edit": 10, "validation": 10, "test": 10}


def several(path):
    DatasetDict({"train": Dataset.from_dict(table(), features=FEATURES)}).save_to_disk(path)


def two_columns(path):
    saved(path, table() | {"mask": table()["photo"]}, Features(FEATURES | {"mask": ImageColumn()}))


def without(path, *names):
    columns = {name: values for name, values in table().items() if name not in names}
    saved(path, columns, Features({name: FEATURES[name] for name in columns}))


def many_captions(path):
    columns = table() | {"caption": [["one", "two"]] * 30}
    saved(path, columns, Features(FEATURES | {"caption": Sequence(Value("string"))}))


def truncated(path):
    [file] = saved(path).glob("*.arrow")
    file.write_bytes(file.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.mkdir(), r"was not written by datasets\.Dataset\.save_to_disk"),
        (several, r"holds several data sets \(train\); give the directory of one"),
        (two_columns, r"must have one column of images .*, and has photo, mask;"),
        (lambda path: without(path, "photo"), "has none among label, caption, style, width"),
        (lambda path: without(path, "label", "caption"), "lacks the column caption or label"),
        (many_captions, r"column caption of .* must be a ClassLabel or text"),
        (lambda path: saved(path, {name: [] for name in FEATURES}), "has no rows"),
        (truncated, r"cannot be read \(.*save the data set again"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(tmp_path, make, sentence):
    make(tmp_path / "d")
    with pytest.raises(DataError, match=sentence) as caught:
        read(tmp_path / "d")
    assert "\n" not in str(caught.value)


def test_without_the_package_it_is_said_how_to_install_it(tmp_path, monkeypatch):
    path = saved(tmp_path / "d")
    assert len(list_saved(path)[0]) == 30  # control
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'razor_pipeline\[datasets\]'"):
        list_saved(path)


def test_control_a_table_of_the_same_images_gives_the_same_manifest(tmp_path):
    rows = pd.DataFrame({name: values for name, values in table().items() if name in ("caption", "style")})
    rows["label"] = [["cat", "dog", "cow"][number % 3] for number in range(30)]
    rows["image_path"] = [f"{number}.png" for number in range(30)]
    for number in range(30):
        (tmp_path / f"{number}.png").write_bytes(image(number))
    rows.to_parquet(tmp_path / "pairs.parquet")
    plain, _ = image_captions(DataParams(source="manifest", path=str(tmp_path / "pairs.parquet")), ATELIER)
    found, _ = read(saved(tmp_path / "d"))
    places = ["image_path", "image_offset"]
    pd.testing.assert_frame_equal(found.drop(columns=places), plain.drop(columns=places))
