"""Images from disk: listings of a folder, and files that are read only once they proved sound."""

from __future__ import annotations

import hashlib
import io
import time
import warnings
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from razor_pipeline.datasets.sound_images import SoundImages
from razor_pipeline.manifest import DataError
from razor_pipeline.pictures import READERS, stretch, upright, written

SUFFIXES = (".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".webp", ".bmp")
BESIDE = (".txt", ".cls", ".json")  # what tar shards have beside an image
CLUTTER = ("thumbs.db", "ehthumbs.db", "desktop.ini")
FORMATS = ("JPEG", "PNG", "PPM", "WEBP", "BMP")
MEGA = 1e6
LARGEST_PIXEL, LARGEST_HEADER = 8, 1 << 20  # bytes: four channels of 16 bits; what else a file holds
CHUNK = 4096  # images that wait for a thread
NOTED_EVERY = 300.0  # seconds of decoding that a killed reading loses, beside a chunk's


class BadImageError(ValueError):
    """A file cannot be used; the message is the reason."""


def list_folder(root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images of ``<root>/<class>/<image>``, sorted, and ``image_path, reason`` of other files.

    An image has ``image_path, sample_id, label``. Refused are other files in class folders, names that are no UTF-8,
    whatever lies in folders within these, and images beside the class folders: a target's images among them would stay
    in the model. Passed over without a word are hidden files, what systems leave in folders (:data:`CLUTTER`), texts
    beside an image of the same name (a class folder says what an image shows), and what is no image beside the class
    folders.

    Raises:
        DataError: there is no such folder, a class or the whole folder holds no image, or a class's name is no UTF-8.
    """
    if not root.is_dir():
        raise DataError(f"data.path '{root}' is not a folder; give one that holds <class>/<image>")
    rows: list[tuple[str, str, str]] = []
    refused = _in_no_class(root)
    for folder in _folders(root):
        images, others = sorted_out(folder)
        if not images:
            raise DataError(
                f"class folder '{folder}' holds no image ({', '.join(SUFFIXES)}); add images or remove it"
            )
        rows += [(str(p), f"{folder.name}/{p.name}", folder.name) for p in images]
        refused += others
    if not rows:
        raise DataError(f"data.path '{root}' holds no class folder; arrange images as <class>/<image>")
    return (
        pd.DataFrame(rows, columns=["image_path", "sample_id", "label"]),
        pd.DataFrame(refused, columns=["image_path", "reason"], dtype=str),
    )


def _folders(root: Path) -> list[Path]:
    """The folders of a folder, sorted, without hidden ones; their names become labels."""
    found = sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
    for path in found:
        if written(path) != str(path):
            raise DataError(f"folder '{written(path)}' has a name that is no UTF-8; rename it")
    return found


def sorted_out(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """Images of a class folder by their names, sorted, and what has no business there, each with the reason."""
    shown = _shown(folder)
    images = [p for p in shown if p.suffix.lower() in SUFFIXES and written(p) == str(p)]
    stems, sound = {p.stem for p in images}, set(images)
    others = [p for p in shown if p not in sound and not (p.suffix.lower() in BESIDE and p.stem in stems)]
    refused = [(written(p), _unread(p)) for p in others if not p.is_dir()]
    deeper = [p for each in others if each.is_dir() for p in _within(each)]
    return images, refused + [
        (written(p), "lies in a folder within a class folder; move it up") for p in deeper
    ]


def _within(folder: Path) -> Iterator[Path]:
    """The files of a folder and of all that it holds, but for texts; links to folders are not followed."""
    for path in _shown(folder):
        if path.is_dir() and not path.is_symlink():
            yield from _within(path)
        elif path.suffix.lower() not in BESIDE:
            yield path


def _shown(folder: Path) -> list[Path]:
    """What a folder holds, sorted, without what is hidden or left there by a system."""
    return sorted(p for p in folder.iterdir() if p.name[0] != "." and p.name.lower() not in CLUTTER)


def _in_no_class(root: Path) -> list[tuple[str, str]]:
    """Images beside the folders that they belong in, each with the reason why it is refused."""
    found = [p for p in _shown(root) if p.suffix.lower() in SUFFIXES and not p.is_dir()]
    return [(written(p), "lies in no class folder; move it into one") for p in found]


def _unread(path: Path) -> str:
    if written(path) != str(path):
        return "has a name that is no UTF-8; rename it"
    return f"has the suffix {path.suffix}, which is not read" if path.suffix else "has no suffix"


def list_styles(root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What :func:`list_folder` tells, of ``<root>/<style>/<object>/<image>``, as UnlearnCanvas lays it out.

    An image has a ``style`` too. Underscores in names are blanks.

    Raises:
        DataError: there is no such folder, a folder of it holds nothing, or its name is no UTF-8.
    """
    if not root.is_dir():
        raise DataError(f"data.path '{root}' is not a folder; give one that holds <style>/<object>/<image>")
    styles = _folders(root)
    if not styles:
        raise DataError(
            f"data.path '{root}' holds no style folder; arrange images as <style>/<object>/<image>"
        )
    found = [(style.name, *list_folder(style)) for style in styles]
    astray = pd.DataFrame(_in_no_class(root), columns=["image_path", "reason"], dtype=str)
    rows = pd.concat([listed.assign(style=style) for style, listed, _ in found], ignore_index=True)
    rows["sample_id"] = rows["style"] + "/" + rows["sample_id"]
    spoken = {name: rows[name].str.replace("_", " ") for name in ("label", "style")}
    refused = pd.concat([astray, *(others for *_, others in found)], ignore_index=True)
    return rows.assign(**spoken), refused


def read_images(
    listing: pd.DataFrame, max_megapixels: float, sound_images: SoundImages | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The listing's sound rows with where their images are, and the others as ``image_path, reason``.

    Every image is read and hashed, and none is kept: a row points to its file, or to its stretch of one, with
    ``image_path, image_offset, image_size, sha256``.

    Args:
        listing: ``image_path``; where it is a shard also ``image_offset, image_size`` and ``image_name``, a name to
            report.
        max_megapixels: of an image.
        sound_images: those that need not be decoded again; afterwards it holds the sound ones of the listing, and no
            trace of an image that was removed. None where all are to be decoded.
    """
    in_shards = "image_offset" in listing
    offsets = listing["image_offset"].tolist() if in_shards else [0] * len(listing)
    sizes = listing["image_size"].tolist() if in_shards else [None] * len(listing)
    paths = list(map(Path, listing["image_path"]))
    known = sound_images.known(max_megapixels) if sound_images else frozenset()
    found: list[tuple[int, str] | BadImageError] = []
    noted = time.monotonic()
    with (
        ThreadPoolExecutor(READERS, "images") as readers,
        tqdm(total=len(paths), desc="images", unit="image", disable=None) as bar,
    ):
        look = partial(_looked_at, max_megapixels=max_megapixels, known=known)
        for start in range(0, len(paths), CHUNK):
            part = slice(start, start + CHUNK)
            found += readers.map(look, paths[part], offsets[part], sizes[part])
            bar.update(len(paths[part]))
            if sound_images and time.monotonic() - noted > NOTED_EVERY:
                sound_images.keep(known | _hashes(found), max_megapixels)
                noted = time.monotonic()
    if sound_images and _hashes(found) != known:
        sound_images.keep(_hashes(found), max_megapixels)
    sound = [one for one in found if not isinstance(one, BadImageError)]
    refused = [isinstance(one, BadImageError) for one in found]
    names = listing.loc[refused, "image_name" if "image_name" in listing else "image_path"]
    rows = listing[~np.array(refused, dtype=bool)].assign(
        image_bytes=None,
        image_offset=[offset for offset, bad in zip(offsets, refused, strict=True) if not bad],
        image_size=[size for size, _ in sound],
        sha256=[sha256 for _, sha256 in sound],
    )
    reasons = [str(one) for one in found if isinstance(one, BadImageError)]
    return rows, pd.DataFrame({"image_path": list(names), "reason": reasons}, dtype=str)


def _hashes(found: list[tuple[int, str] | BadImageError]) -> frozenset[str]:
    return frozenset(one[1] for one in found if not isinstance(one, BadImageError))


def _looked_at(
    path: Path, offset: int, size: int | None, max_megapixels: float, known: Collection[str]
) -> tuple[int, str] | BadImageError:
    """Size and sha256 of a sound image; one whose sha256 is known is not decoded."""
    try:
        data = _read(path, max_megapixels, offset, size)
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in known:
            _check_sound(data, max_megapixels)
    except BadImageError as error:
        return error
    return len(data), sha256


def _read(path: Path, max_megapixels: float, offset: int, size: int | None) -> bytes:
    """The bytes, where there are some and not too many."""
    if not path.is_file():
        raise BadImageError("does not exist")
    size = path.stat().st_size - offset if size is None else size
    if size == 0:
        raise BadImageError("is empty")
    if size > LARGEST_PIXEL * max_megapixels * MEGA + LARGEST_HEADER:
        raise BadImageError(f"has {size / MEGA:.0f} MB, more than {max_megapixels:g} megapixels take")
    try:
        return stretch(path, offset, size)
    except Exception as error:
        raise BadImageError(f"is damaged ({error})") from error


def _check_sound(data: bytes, max_megapixels: float) -> None:
    """Raise where the bytes are no image that decodes as a whole; its header says how large it is, before that."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        with image:
            _check_header(image, max_megapixels)
            upright(image)
    except UnidentifiedImageError as error:
        raise BadImageError(f"is no {', '.join(FORMATS)} image") from error
    except Image.DecompressionBombError as error:
        raise BadImageError(f"has more than {max_megapixels:g} megapixels") from error
    except BadImageError:
        raise
    except Exception as error:  # of a damaged file PIL's decoders raise struct.error and TypeError as well
        raise BadImageError(f"is damaged ({error})") from error


def _check_header(image: Image.Image, max_megapixels: float) -> None:
    size = image.width * image.height / MEGA
    if size > max_megapixels:
        raise BadImageError(f"has {size:.0f} megapixels, more than {max_megapixels:g}")
    # A camera's MPO is a photo and its preview.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise BadImageError("is animated")
