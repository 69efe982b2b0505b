"""Where a manifest row's picture is, and how it is read: the one place that turns bytes into pixels."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from razor_pipeline.manifest import DataError

READERS = min(4, os.cpu_count() or 1)  # threads that read at the same time
HEADER = 1 << 16  # bytes in which nearly every image says its size
ORIENTATION = 0x0112  # EXIF tag; 1 is upright
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """Where a manifest row's image is: in the row, or in a file, of which it may be a stretch.

    Attributes:
        data: its bytes; None where they are in the file.
        path: the file.
        offset: its first byte in the file.
        size: number of bytes.
        sha256: of the bytes.
    """

    data: bytes | None
    path: str = ""
    offset: int = 0
    size: int = 0
    sha256: str = ""

    def read(self) -> bytes:
        """The bytes.

        Raises:
            DataError: the file is gone or does not hold what the manifest was made from.
        """
        if self.data is not None:
            return self.data
        try:
            found = stretch(Path(self.path), self.offset, self.size)
        except OSError as error:
            raise DataError(
                f"image '{self.path}' cannot be read ({error.strerror}); put it back, or run dataset_preparation again"
            ) from error
        if hashlib.sha256(found).hexdigest() != self.sha256:
            raise DataError(
                f"image '{self.path}' at byte {self.offset} is not what the manifest was made from; put it back, or "
                "run dataset_preparation again"
            )
        return found


def stretch(path: Path, offset: int, size: int) -> bytes:
    """``size`` bytes of a file from ``offset`` on; fewer where it ends before."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def written(path: str | Path) -> str:
    """A path as a table takes it: what is no UTF-8 in it, as in names from old archives, in codes."""
    return str(path).encode(errors="backslashreplace").decode()


def pictures(rows: pd.DataFrame) -> tuple[Picture, ...]:
    """Where the rows' images are; rows with ``image_bytes`` alone need no other column."""
    data = list(rows["image_bytes"])
    if "image_path" not in rows:
        return tuple(map(Picture, data))
    places = (rows[name].tolist() for name in ("image_path", "image_offset", "image_size", "sha256"))
    return tuple(map(Picture, data, *places))


def opened(found: Iterable[Picture]) -> list[Image.Image]:
    """The images, upright, RGB."""
    return [upright(Image.open(io.BytesIO(picture.read()))) for picture in found]


def dimensions(picture: Picture) -> tuple[int, int]:
    """Width and height in pixels as an image's header has them; nothing is decoded.

    Raises:
        DataError: see :meth:`Picture.read`.
    """
    if picture.data is None and picture.size > HEADER:
        with suppress(OSError, SyntaxError, ValueError):  # a header that goes on, or no file
            return _dimensions(stretch(Path(picture.path), picture.offset, HEADER))
    return _dimensions(picture.read())


def _dimensions(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size


def upright(image: Image.Image) -> Image.Image:
    """RGB, turned as its EXIF tag says, 16 bits scaled to 8."""
    image = _turned(image)
    return (_eight_bits(image) if image.mode.startswith(("I", "F")) else image).convert("RGB")


def _turned(image: Image.Image) -> Image.Image:
    """As its EXIF tag says; no other tag is read, since what is wrong with one need not hurt the picture."""
    turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def _eight_bits(image: Image.Image) -> Image.Image:
    """A picture of 16 bits, its full range as 0 to 255; PIL itself would cut at 255."""
    values = np.asarray(image, dtype=np.float64)
    return Image.fromarray(np.clip(values / 257.0, 0, 255).round().astype(np.uint8))
