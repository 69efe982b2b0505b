"""Tar shards: every member is read from where it lies, and bad ones are named and counted as bad files are."""

from __future__ import annotations

import io
import json
import logging
import tarfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from razor_pipeline.datasets.shards import list_shards, shards_at
from razor_pipeline.datasets.sources import image_captions, listing
from razor_pipeline.manifest import DataError
from razor_pipeline.params.data import AtelierParams, DataParams
from razor_pipeline.pictures import opened, pictures

ATELIER = AtelierParams()


def image(seed):
    buffer = io.BytesIO()
    values = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def shard(path, members):
    """Write members ``(name, bytes)``."""
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def sample(number, label, **more):
    parts = {"png": image(number), "txt": f"a red {label}".encode(), "cls": label.encode()} | more
    return [(f"{number:04d}.{kind}", data) for kind, data in parts.items() if data is not None]


@pytest.fixture
def folder(tmp_path):
    """Two shards of fifteen samples, three classes."""
    for place in range(2):
        numbers = range(15 * place, 15 * place + 15)
        members = [member for number in numbers for member in sample(number, "abc"[number % 3])]
        shard(tmp_path / f"data-{place}.tar", members)
    return tmp_path


def read(folder, **options):
    return image_captions(DataParams(source="folder", path=str(folder), **options), ATELIER)


def test_shards_become_a_manifest_whose_rows_point_into_them(folder):
    manifest, quarantine = read(folder)
    assert quarantine.empty
    assert len(manifest) == 30
    assert set(manifest["caption"]) == {"a red a", "a red b", "a red c"}
    assert manifest["label"].value_counts().to_dict() == {"a": 10, "b": 10, "c": 10}
    assert list(manifest["sample_id"].head(2)) == ["data-0.tar/0000.png", "data-0.tar/0001.png"]
    mixed = manifest.sample(frac=1.0, random_state=0)
    for number, found in zip(mixed["sample_id"].str[11:15].astype(int), pictures(mixed), strict=True):
        assert found.read() == image(number)
    assert opened(pictures(manifest.head(1)))[0].size == (8, 8)


def test_a_folder_of_files_and_shards_of_the_same_files_give_the_same_pictures(folder, tmp_path_factory):
    plain = tmp_path_factory.mktemp("plain")
    for number in range(30):
        (plain / "abc"[number % 3]).mkdir(exist_ok=True)
        (plain / "abc"[number % 3] / f"{number:04d}.png").write_bytes(image(number))
    found = [read(place)[0].sort_values("sha256") for place in (folder, plain)]
    assert list(found[0]["sha256"]) == list(found[1]["sha256"])
    assert [p.read() for p in pictures(found[0])] == [p.read() for p in pictures(found[1])]


def test_the_listing_opens_no_image_and_names_the_classes(folder):
    told = listing(DataParams(source="folder", path=str(folder), reference_labels=("c",)), ATELIER)
    assert set(told["label"]) == {"a", "b", "c"}
    assert set(told.loc[told["label"] == "c", "role"]) == {"reference"}


def test_json_tells_what_a_table_would(tmp_path):
    told = {"caption": "two", "label": "twos", "style": "ink", "image_path": "/etc/passwd", "size": [1]}
    path = shard(tmp_path / "a.tar", sample(1, "x", txt=None, cls=None, json=json.dumps(told).encode()))
    rows, _ = list_shards([path], 0.05)
    [row] = rows.to_dict("records")
    assert (row["caption"], row["label"], row["style"]) == ("two", "twos", "ink")
    assert row["image_path"] == str(path)
    assert "size" not in row


BAD = {
    "no image": (sample(99, "a", png=None), "has no image"),
    "two images": (sample(99, "a", jpg=b"x"), "has 2 images"),
    "nothing said": (sample(99, "a", txt=None, cls=None), "has neither caption"),
    "long text": (sample(99, "a", txt=b"x" * 70_000), "more than 65536 bytes"),
    "latin": (sample(99, "a", txt=b"\xff"), "is no UTF-8"),
    "json": (sample(99, "a", json=b"{"), "json is damaged"),
    "list": (sample(99, "a", json=b"[]"), "json is no object"),
    "damaged": (sample(99, "a", png=image(99)[:60]), "is damaged"),
    "text": (sample(99, "a", png=b"no image"), "is no JPEG"),
    "empty": (sample(99, "a", png=b""), "is empty"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_member_goes_to_quarantine_with_its_reason(folder, kind):
    members, reason = BAD[kind]
    shard(folder / "data-2.tar", [*members, *sample(98, "a")])
    manifest, quarantine = read(folder)
    assert len(manifest) == 31
    assert len(quarantine) == 1
    assert quarantine["image_path"].iloc[0].startswith(str(folder / "data-2.tar/0099"))
    assert reason in quarantine["reason"].iloc[0]
    with pytest.raises(DataError, match=r"1 of 32 images cannot be used.*0099"):
        read(folder, max_quarantined_share=0.03)


def test_what_a_mac_hides_in_a_shard_is_passed_over(tmp_path):
    members = [member for number in range(12) for member in sample(number, "abc"[number % 3])]
    hidden = [(f"./._{name}", b"Mac OS X") for name, _ in members]
    both = [one for pair in zip(hidden, members, strict=True) for one in pair]
    rows, quarantine = read(shard(tmp_path / "data.tar", both))
    assert len(rows) == 12
    assert quarantine.empty


@pytest.mark.parametrize(
    "bad",
    [
        sample(99, "b", json=b'{"caption": "\\ud800"}'),
        [("caf\udce9.png", image(99)), ("caf\udce9.cls", b"b")],
    ],
)
def test_a_member_of_letters_that_are_none_goes_to_quarantine(folder, bad, tmp_path):
    shard(folder / "data-2.tar", bad)
    rows, quarantine = read(folder, max_quarantined_share=0.1)
    assert len(rows) == 30
    assert list(quarantine["reason"]) == ["its name or a text of it is no UTF-8"]
    quarantine.to_parquet(tmp_path / "quarantine.parquet")


def test_a_link_in_a_shard_is_not_followed(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        entry = tarfile.TarInfo("1.png")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(entry)
        for name, data in sample(2, "a"):
            whole = tarfile.TarInfo(name)
            whole.size = len(data)
            tar.addfile(whole, io.BytesIO(data))
    rows, refused = list_shards([path], 0.05)
    assert list(rows["sample_id"]) == ["a.tar/0002.png"]
    assert refused["reason"].tolist() == ["is a link or has holes"]


def test_what_lies_before_a_break_is_used_and_the_shard_is_named(folder, caplog):
    path = folder / "data-1.tar"
    whole = list_shards([path], 0.0)[0]
    last = int(whole["image_offset"].iloc[7])
    path.write_bytes(path.read_bytes()[: last + 10])
    with pytest.raises(DataError, match=r"1 of 2 shards cannot be used.*data-1\.tar \(is damaged"):
        read(folder)
    with caplog.at_level(logging.WARNING):
        manifest, quarantine = read(folder, max_quarantined_share=0.5)
    assert len(manifest) == 15 + 7
    assert list(quarantine["image_path"]) == [str(path)]
    assert "1 of 2 shards were put in quarantine" in caplog.text


@pytest.mark.parametrize("cut", [0, 700, 512 * 9, 512 * 30 + 100])
def test_wherever_a_shard_ends_early_it_is_noticed(folder, cut):
    path = folder / "data-1.tar"
    path.write_bytes(path.read_bytes()[:cut])
    _, refused = list_shards([folder / "data-0.tar", path], 0.5)
    assert refused["image_path"].iloc[0] == str(path)


def test_a_header_of_nonsense_is_noticed(folder):
    path = folder / "data-1.tar"
    data = bytearray(path.read_bytes())
    place = int(list_shards([path], 0.0)[0]["image_offset"].iloc[5]) - 512
    data[place : place + 512] = b"\xaa" * 512
    path.write_bytes(data)
    rows, refused = list_shards([folder / "data-0.tar", path], 0.5)
    assert list(refused["image_path"]) == [str(path)]
    assert 15 < len(rows) < 21


def test_unusable_shards_are_refused(tmp_path, folder):
    shard(folder / "data-2.tar.gz", sample(1, "a"))
    with pytest.raises(DataError, match=r"data-2\.tar\.gz' is compressed"):
        read(folder)
    assert shards_at(tmp_path / "nowhere") == []
    empty = shard(tmp_path / "none.tar", [])
    with pytest.raises(DataError, match="no sample"):
        list_shards([empty], 0.05)


def test_one_name_twice_stays_two_samples(tmp_path):
    path = shard(tmp_path / "a.tar", [*sample(1, "a"), *sample(2, "a"), *sample(1, "a")])
    rows, _ = list_shards([path], 0.0)
    assert list(rows["sample_id"]) == ["a.tar/0001.png", "a.tar/0002.png", "a.tar/0001.png#1"]
    pd.testing.assert_series_equal(rows["image_offset"], rows["image_offset"].sort_values())
