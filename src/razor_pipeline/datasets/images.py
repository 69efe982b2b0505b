"""Images from disk: listings of a folder or a table, and files that are read only once they proved sound."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from razor_pipeline.manifest import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".webp", ".bmp")
FORMATS = ("JPEG", "PNG", "PPM", "WEBP", "BMP")
ORIENTATION = 0x0112  # EXIF tag; 1 is upright
MEGA = 1e6


class BadImageError(ValueError):
    """A file cannot be used; the message is the reason."""


def list_folder(root: Path) -> pd.DataFrame:
    """``image_path, sample_id, label`` of ``<root>/<class>/<image>``, sorted; other files are left.

    Raises:
        DataError: there is no such folder, or a class or the whole folder holds no image.
    """
    if not root.is_dir():
        raise DataError(f"data.path '{root}' is not a folder; give one that holds <class>/<image>")
    rows = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != "."):
        images = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
        if not images:
            raise DataError(f"class folder '{folder}' holds no image; add images or remove it")
        rows += [(str(p), f"{folder.name}/{p.name}", folder.name) for p in images]
    if not rows:
        raise DataError(f"data.path '{root}' holds no class folder; arrange images as <class>/<image>")
    return pd.DataFrame(rows, columns=["image_path", "sample_id", "label"])


def list_styles(root: Path) -> pd.DataFrame:
    """``image_path, sample_id, label, style`` of ``<root>/<style>/<object>/<image>``, as UnlearnCanvas lays it out.

    Underscores in names are blanks.

    Raises:
        DataError: there is no such folder, or a folder of it holds nothing.
    """
    if not root.is_dir():
        raise DataError(f"data.path '{root}' is not a folder; give one that holds <style>/<object>/<image>")
    styles = sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
    if not styles:
        raise DataError(
            f"data.path '{root}' holds no style folder; arrange images as <style>/<object>/<image>"
        )
    parts = [
        list_folder(style)
        .assign(style=style.name)
        .assign(sample_id=lambda rows: rows["style"] + "/" + rows["sample_id"])
        for style in styles
    ]
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(**{name: rows[name].str.replace("_", " ") for name in ("label", "style")})


def list_table(path: Path) -> pd.DataFrame:
    """The rows of a csv or parquet file; its image paths are relative to it.

    Raises:
        DataError: it is missing, unreadable or empty, or lacks a column.
    """
    if not path.is_file():
        raise DataError(f"data.path '{path}' is not a file; give a csv or parquet file")
    try:
        rows = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
    except Exception as error:  # pandas and pyarrow raise a dozen kinds
        raise DataError(f"data.path '{path}' cannot be read ({error}); give a csv or parquet file") from error
    missing = [name for name in ("image_path", "caption") if name not in rows]
    if missing:
        raise DataError(f"data.path '{path}' lacks the column {', '.join(missing)}; add it")
    if rows.empty or rows["image_path"].isna().any():
        raise DataError(f"data.path '{path}' has no rows, or one without image_path; fill them in")
    count = rows.groupby("image_path").cumcount()
    again = ("#" + count.astype(str)).where(count > 0, "")
    return rows.assign(
        sample_id=rows["image_path"].astype(str) + again,
        image_path=[str(path.parent / name) for name in rows["image_path"]],
    )


def read_images(listing: pd.DataFrame, max_megapixels: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The listing's sound rows with ``image_bytes, sha256``, and the others as ``image_path, reason``."""
    data: list[bytes | None] = []
    refused = []
    for path in tqdm(listing["image_path"], desc="images", unit="image", disable=None):
        try:
            data.append(read_image(Path(path), max_megapixels))
        except BadImageError as error:
            data.append(None)
            refused.append((path, str(error)))
    rows = listing.assign(image_bytes=pd.Series(data, index=listing.index, dtype=object))
    rows = rows[[item is not None for item in data]]
    rows = rows.assign(sha256=[hashlib.sha256(item).hexdigest() for item in rows["image_bytes"]])
    return rows.drop(columns="image_path"), pd.DataFrame(refused, columns=["image_path", "reason"], dtype=str)


def read_image(path: Path, max_megapixels: float) -> bytes:
    """The file as it is, or as PNG where its orientation or its depth need work.

    Raises:
        BadImageError: it is missing, empty, truncated, animated, too large or no image. Its size is read from
            the header, before a pixel is decoded.
    """
    if not path.is_file():
        raise BadImageError("does not exist")
    if path.stat().st_size == 0:
        raise BadImageError("is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=FORMATS)
        with image:
            _check_header(image, max_megapixels)
            image.load()
            return _upright(image, path)
    except UnidentifiedImageError as error:
        raise BadImageError(f"is no {', '.join(FORMATS)} image") from error
    except Image.DecompressionBombError as error:
        raise BadImageError(f"has more than {max_megapixels:g} megapixels") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, BadImageError):
            raise
        raise BadImageError(f"is damaged ({error})") from error


def _check_header(image: Image.Image, max_megapixels: float) -> None:
    size = image.width * image.height / MEGA
    if size > max_megapixels:
        raise BadImageError(f"has {size:.0f} megapixels, more than {max_megapixels:g}")
    if (
        getattr(image, "is_animated", False) and image.format != "MPO"
    ):  # a camera's MPO is a photo and its preview
        raise BadImageError("is animated")


def _upright(image: Image.Image, path: Path) -> bytes:
    deep = image.mode.startswith(("I", "F"))
    if not deep and image.getexif().get(ORIENTATION, 1) == 1:
        return path.read_bytes()
    upright = ImageOps.exif_transpose(_eight_bits(image) if deep else image)
    buffer = io.BytesIO()
    upright.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _eight_bits(image: Image.Image) -> Image.Image:
    """A picture of 16 bits, its full range as 0 to 255; PIL itself would cut at 255."""
    pixels = np.asarray(image, dtype=np.float64)
    return Image.fromarray(np.clip(pixels / 257.0, 0, 255).round().astype(np.uint8))
