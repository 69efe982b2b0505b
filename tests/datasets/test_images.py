"""Own images: every format is read, every bad file is named, and a large one is never decoded."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError
from PIL import Image, ImageOps

from razor_pipeline.datasets import images, sound_images
from razor_pipeline.datasets.images import (
    BadImageError,
    list_folder,
    list_styles,
    read_images,
)
from razor_pipeline.datasets.sound_images import SoundImages, SoundImagesDataset
from razor_pipeline.manifest import DataError
from razor_pipeline.pictures import Picture, opened, pictures

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8))


def saved(path, image=PHOTO, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def read_image(path, max_megapixels):
    """The bytes that a row points to; where the image is refused the reason, as an error."""
    rows, refused = read_images(pd.DataFrame({"image_path": [str(path)]}), max_megapixels)
    for reason in refused["reason"]:
        raise BadImageError(reason)
    [picture] = pictures(rows)
    return picture.read()


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "ppm", "webp", "bmp", "JPG"])
def test_the_bytes_of_a_sound_image_are_kept(tmp_path, suffix):
    path = saved(tmp_path / f"a.{suffix}")
    assert read_image(path, 1.0) == path.read_bytes()


def test_grey_images_are_read(tmp_path):
    path = saved(tmp_path / "a.pgm", PHOTO.convert("L"))
    assert read_image(path, 1.0) == path.read_bytes()


def huge_png(side):
    """A valid header of side x side pixels with hardly any data behind it."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 100)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def animated(path, kind="WEBP"):
    PHOTO.save(path, kind, save_all=True, append_images=[PHOTO.rotate(90)], duration=50)


BAD = {
    "missing": (lambda path: path.unlink(missing_ok=True), "does not exist"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("not an image"), "is no JPEG"),
    "truncated": (lambda path: path.write_bytes(saved(path).read_bytes()[:900]), "is damaged"),
    "gif": (lambda path: PHOTO.save(path, "GIF"), "is no JPEG"),
    "animated": (animated, "is animated"),
    "animated png": (lambda path: animated(path, "PNG"), "is animated"),
    "large": (lambda path: path.write_bytes(huge_png(10_000)), "has 100 megapixels, more than 50"),
    "bomb": (lambda path: path.write_bytes(huge_png(60_000)), "megapixels"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_refused_with_the_reason(tmp_path, kind):
    make, reason = BAD[kind]
    path = tmp_path / "a.png"
    make(path)
    with pytest.raises(BadImageError, match=reason):
        read_image(path, 50.0)


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "ppm", "png", "webp"])
def test_half_a_file_is_refused_in_every_format(tmp_path, suffix):
    path = saved(tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadImageError, match=r"is damaged|is no JPEG"):
        read_image(path, 1.0)


def test_control_the_limit_is_what_refuses_a_large_image(tmp_path):
    path = saved(tmp_path / "a.png")
    assert read_image(path, 0.0006)
    with pytest.raises(BadImageError, match="megapixels"):
        read_image(path, 0.0005)


def shown(path):
    """The picture as a model sees it."""
    [image] = opened([Picture(read_image(path, 1.0))])
    return image


def test_a_turned_photo_is_seen_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.jpg", exif=exif)
    assert shown(path).size == (20, 30)
    assert Image.open(path).size == (30, 20)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_a_turned_photo_with_another_tag_that_is_wrong_is_read(tmp_path, suffix):
    """PIL would write all tags again to turn it, and raise struct.error or TypeError."""
    turned, resolution = (
        struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0),
        struct.pack("<HHI4s", 0x011A, 2, 4, b"abc\0"),
    )
    tags = struct.pack("<2sHIH", b"II", 42, 8, 2) + turned + resolution + struct.pack("<I", 0)
    path = saved(tmp_path / f"a{suffix}", exif=b"Exif\0\0" + tags)
    with pytest.raises((TypeError, struct.error)), Image.open(path) as image:  # control
        ImageOps.exif_transpose(image)
    assert shown(path).size == (20, 30)


def test_sixteen_bits_are_turned_as_well(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp = Image.fromarray(np.zeros((20, 30), dtype=np.uint16))
    assert shown(saved(tmp_path / "a.png", ramp, exif=exif)).size == (20, 30)
    assert shown(saved(tmp_path / "b.png", ramp)).size == (30, 20)  # control


def test_sixteen_bits_are_scaled_and_not_cut(tmp_path):
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    path = saved(tmp_path / "a.png", Image.fromarray(ramp))
    pixels = np.asarray(shown(path))[..., 0]
    assert np.abs(pixels.ravel().astype(int) - np.arange(256)).max() <= 1


def test_a_folder_lists_classes_and_images_in_order(tmp_path):
    for name in ("b/2.png", "b/1.jpg", "a/1.png", ".git/1.png"):
        saved(tmp_path / name)
    found, refused = list_folder(tmp_path)
    assert list(found["sample_id"]) == ["a/1.png", "b/1.jpg", "b/2.png"]
    assert list(found["label"]) == ["a", "b", "b"]
    assert refused.empty


def test_every_other_file_of_a_class_folder_is_listed_with_the_reason(tmp_path):
    saved(tmp_path / "a/1.png")
    PHOTO.save(tmp_path / "a/1.gif", save_all=True, append_images=[PHOTO.rotate(90)])
    PHOTO.save(tmp_path / "a/2.TIF", "TIFF")
    for name in ("3.heic", "notes.txt", "no_suffix", "1.png.bak"):
        (tmp_path / "a" / name).write_text("x")
    found, refused = list_folder(tmp_path)
    assert list(found["sample_id"]) == ["a/1.png"]
    names = ["1.gif", "1.png.bak", "2.TIF", "3.heic", "no_suffix", "notes.txt"]
    assert list(refused["image_path"]) == [str(tmp_path / "a" / name) for name in names]
    read = [f"has the suffix {suffix}, which is not read" for suffix in (".gif", ".bak", ".TIF", ".heic")]
    assert list(refused["reason"]) == [*read, "has no suffix", "has the suffix .txt, which is not read"]


def odd(name):
    """A name as an archive from before UTF-8 leaves it."""
    return os.fsdecode(name.encode("latin-1"))


def test_a_file_whose_name_is_no_utf8_is_listed_with_the_reason(tmp_path):
    for name in ("caf\u00e9.png", odd("caf\u00e9.png"), odd("\u00e9.heic"), odd("d\u00e9j\u00e0") + "/1.png"):
        saved(tmp_path / "a" / name, format="PNG")
    saved(tmp_path / odd("\u00e9.png"))
    found, refused = list_folder(tmp_path)
    assert list(found["sample_id"]) == ["a/caf\u00e9.png"]
    assert list(refused["reason"]) == [
        "lies in no class folder; move it into one",
        *["has a name that is no UTF-8; rename it"] * 2,
        "lies in a folder within a class folder; move it up",
    ]
    refused.to_parquet(tmp_path / "quarantine.parquet")


@pytest.mark.parametrize("listed", [list_folder, list_styles])
def test_a_class_whose_name_is_no_utf8_is_refused(tmp_path, listed):
    saved(tmp_path / odd("caf\u00e9") / "cat/1.png")
    with pytest.raises(DataError, match=r"caf.udce9' has a name that is no UTF-8; rename it"):
        listed(tmp_path)


def test_what_may_lie_beside_images_is_passed_over(tmp_path):
    saved(tmp_path / "a/1.png")
    (tmp_path / "a/masks").mkdir()
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "1.txt", "1.json", "1.cls"):
        (tmp_path / "a" / name).write_text("x")
    found, refused = list_folder(tmp_path)
    assert len(found) == 1
    assert refused.empty
    (tmp_path / "a/2.txt").write_text("x")  # control: beside no image
    assert len(list_folder(tmp_path)[1]) == 1


def test_images_where_no_class_folder_is_read_are_listed_with_the_reason(tmp_path):
    """A target's image that nobody looks for is neither forgotten nor tested."""
    for name in (
        "cat/1.png",
        "cat/more/b.png",
        "cat/more/deep/c.JPG",
        "cat/more/.d/e.png",
        "dog/1.png",
        "a.png",
    ):
        saved(tmp_path / name)
    (tmp_path / "cat/more/photo.heic").write_text("x")
    for name in (
        "cat/more/b.txt",
        "cat/more/Thumbs.db",
        "labels.csv",
        ".b.png",
    ):  # no image is missed with them
        (tmp_path / name).write_text("x")
    found, refused = list_folder(tmp_path)
    assert list(found["sample_id"]) == ["cat/1.png", "dog/1.png"]
    deeper = "lies in a folder within a class folder; move it up"
    reasons = {
        "a.png": "lies in no class folder; move it into one",
        "cat/more/b.png": deeper,
        "cat/more/deep/c.JPG": deeper,
        "cat/more/photo.heic": deeper,
    }
    assert refused.to_numpy().tolist() == [[str(tmp_path / name), said] for name, said in reasons.items()]


def test_a_folder_that_holds_itself_by_a_link_is_listed_once(tmp_path):
    saved(tmp_path / "cat/1.png")
    saved(tmp_path / "cat/more/b.png")
    (tmp_path / "cat/more/again").symlink_to(tmp_path / "cat")
    _, refused = list_folder(tmp_path)
    assert list(refused["image_path"]) == [str(tmp_path / "cat/more" / name) for name in ("again", "b.png")]


def test_images_where_no_folder_of_a_style_is_read_are_listed_too(tmp_path):
    for name in ("Ink/cat/1.png", "Ink/cat/more/2.png", "Ink/3.png", "4.png"):
        saved(tmp_path / name)
    found, refused = list_styles(tmp_path)
    assert list(found["sample_id"]) == ["Ink/cat/1.png"]
    assert list(refused["image_path"]) == [
        str(tmp_path / name) for name in ("4.png", "Ink/3.png", "Ink/cat/more/2.png")
    ]


def test_in_folders_of_styles_other_files_are_listed_too(tmp_path):
    saved(tmp_path / "Pop_Art/Cats/1.png")
    (tmp_path / "Pop_Art/Cats/2.gif").write_text("x")
    found, refused = list_styles(tmp_path)
    assert found[["sample_id", "label", "style"]].to_numpy().tolist() == [
        ["Pop_Art/Cats/1.png", "Cats", "Pop Art"]
    ]
    assert list(refused["image_path"]) == [str(tmp_path / "Pop_Art/Cats/2.gif")]


def test_an_unusable_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        list_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no class folder"):
        list_folder(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="a' holds no image"):
        list_folder(tmp_path)


def test_sound_rows_and_refused_files_add_up(tmp_path):
    saved(tmp_path / "a/1.png")
    (tmp_path / "a/2.png").write_bytes(b"")
    listing, _ = list_folder(tmp_path)
    rows, refused = read_images(listing, 1.0)
    assert list(rows["sample_id"]) == ["a/1.png"]
    assert refused.to_dict("records") == [{"image_path": str(tmp_path / "a/2.png"), "reason": "is empty"}]


def test_a_row_points_to_its_file_and_a_changed_file_is_refused(tmp_path):
    path = saved(tmp_path / "a/1.png")
    rows, _ = read_images(list_folder(tmp_path)[0], 1.0)
    assert rows["image_bytes"].isna().all()
    [picture] = pictures(rows)
    assert picture.read() == path.read_bytes()
    saved(path, PHOTO.rotate(90))
    with pytest.raises(DataError, match=r"1\.png' at byte 0 is not what the manifest was made from"):
        picture.read()
    path.unlink()
    with pytest.raises(DataError, match=r"1\.png' cannot be read \(No such file"):
        picture.read()


@pytest.fixture
def decoded(monkeypatch):
    """Sizes of the images that are decoded, one by one."""
    seen, really = [], images.upright
    monkeypatch.setattr(images, "upright", lambda image: (seen.append(image.size), really(image))[1])
    return seen


@pytest.fixture
def two_sound_and_one_damaged(tmp_path):
    root = tmp_path / "photos"
    whole = saved(root / "a/1.png").read_bytes()
    saved(root / "a/2.png", PHOTO.rotate(90, expand=True))
    (root / "a/3.png").write_bytes(whole[:900])
    return root


def test_what_proved_sound_is_read_and_not_decoded_again(two_sound_and_one_damaged, tmp_path, decoded):
    root, place = two_sound_and_one_damaged, tmp_path / "sound/images.json"
    first = read_images(list_folder(root)[0], 1.0, SoundImages(place))
    assert len(decoded) == 3
    again = read_images(list_folder(root)[0], 1.0, SoundImages(place))
    assert len(decoded) == 4  # what is damaged is never known
    saved(root / "a/1.png", PHOTO.rotate(180))
    changed, _ = read_images(list_folder(root)[0], 1.0, SoundImages(place))
    assert len(decoded) == 6
    (root / "a/2.png").write_bytes((root / "a/3.png").read_bytes())
    rows, refused = read_images(list_folder(root)[0], 1.0, SoundImages(place))
    for one, other in zip(first, again, strict=True):
        assert one.equals(other)
    assert list(refused["image_path"]) == [str(root / "a/2.png"), str(root / "a/3.png")]
    assert rows["sha256"].iloc[0] == changed["sha256"].iloc[0] != first[0]["sha256"].iloc[0]
    # Nothing is left of an image that is gone.
    assert SoundImages(place).known(1.0) == set(rows["sha256"])


@pytest.mark.parametrize(
    "lost", ["missing", "cut", "another shape", "another limit", "another code", "other libraries"]
)
def test_all_are_decoded_where_it_is_not_known_what_is_sound(
    two_sound_and_one_damaged, tmp_path, decoded, lost, monkeypatch
):
    listing, place = list_folder(two_sound_and_one_damaged)[0], tmp_path / "sound.json"
    read_images(listing, 1.0, SoundImages(place))
    decoded.clear()
    if lost == "missing":
        place.unlink()
    elif lost == "cut":
        place.write_bytes(place.read_bytes()[:-9])
    elif lost == "another shape":
        place.write_text("[1]")
    elif lost == "another code":
        monkeypatch.setattr(sound_images, "READER", "razor_pipeline.pictures")
    elif lost == "other libraries":
        monkeypatch.setattr(sound_images, "environment", lambda: {"pillow": "1.0"})
    limit = 0.5 if lost == "another limit" else 1.0
    rows, refused = read_images(listing, limit, SoundImages(place))
    assert len(decoded) == 3
    assert (len(rows), len(refused)) == (2, 1)
    read_images(listing, limit, SoundImages(place))
    assert len(decoded) == 4  # and then it is known


def test_an_image_is_too_large_for_a_smaller_limit_although_it_was_sound(tmp_path):
    saved(tmp_path / "photos/a/1.png")
    listing, place = list_folder(tmp_path / "photos")[0], tmp_path / "sound.json"
    read_images(listing, 1.0, SoundImages(place))
    _, refused = read_images(listing, 0.0005, SoundImages(place))
    assert "megapixels" in refused["reason"].iloc[0]


def test_a_reading_that_fails_on_the_way_has_noted_what_it_decoded(tmp_path, monkeypatch):
    for i in range(4):
        saved(tmp_path / f"photos/a/{i}.png", PHOTO.rotate(90 * i))
    listing, place = list_folder(tmp_path / "photos")[0], tmp_path / "sound.json"
    monkeypatch.setattr(images, "CHUNK", 2)
    monkeypatch.setattr(images, "NOTED_EVERY", 0.0)
    really, seen = images.upright, []

    def stopped(image):
        seen.append(image)
        if len(seen) > 2:
            raise KeyboardInterrupt
        return really(image)

    monkeypatch.setattr(images, "upright", stopped)
    with pytest.raises(KeyboardInterrupt):
        read_images(listing, 1.0, SoundImages(place))
    assert len(SoundImages(place).known(1.0)) == 2


def test_only_the_reading_writes_what_is_sound(tmp_path):
    dataset = SoundImagesDataset(filepath=str(tmp_path / "sound.json"))
    assert dataset.load().known(1.0) == frozenset()
    with pytest.raises(DatasetError, match="is kept by the reading of images"):
        dataset.save(["ab"])
