"""Tar shards in the WebDataset layout: members of one sample share their name up to the first dot, and lie together.

``000012.jpg`` is an image; beside it are ``.txt`` (caption), ``.cls`` (label), ``.json`` (any of the columns of a
table). Nothing is unpacked: a manifest row points to its image's stretch of the shard, so rows can be visited in any
order. Only headers and texts are read here.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from razor_pipeline.datasets.images import SUFFIXES
from razor_pipeline.datasets.tables import TABLE, told_apart
from razor_pipeline.manifest import DataError, check_quarantine
from razor_pipeline.pictures import stretch, written

LONGEST_TEXT = 1 << 16
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
TEXTS = {"txt": "caption", "cls": "label"}


class BadMemberError(ValueError):
    """A sample of a shard cannot be used; the message is the reason."""


@dataclass(frozen=True)
class Member:
    """A file in a shard: where its bytes are."""

    name: str
    offset: int
    size: int

    @property
    def key(self) -> str:
        """What the members of a sample have in common."""
        folder, _, name = self.name.rpartition("/")
        return f"{folder}/{name.partition('.')[0]}"

    @property
    def kind(self) -> str:
        """What is behind the first dot, in small letters."""
        return self.name.rpartition("/")[2].partition(".")[2].lower()


@dataclass
class Listing:
    """Samples of shards, and what was refused: ``(where, reason)`` of single samples and of shards."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    members: list[tuple[str, str]] = field(default_factory=list)
    shards: list[tuple[str, str]] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """A shard's samples; those before a break are used."""
        members, fault = _members(path)
        for name, several in groupby(members, lambda member: member.key):
            try:
                self.rows.append(_row(path, list(several)))
            except BadMemberError as error:
                self.members.append((written(f"{path}/{name.lstrip('/')}"), str(error)))
        if fault:
            self.shards.append((str(path), f"is damaged ({fault})"))


def shards_at(root: Path) -> list[Path]:
    """The shards of a folder, sorted, or the one that this is; none where it holds no tar file.

    Raises:
        DataError: one is compressed, so that no member can be read alone.
    """
    files = [root] if root.is_file() else sorted(root.glob("*.tar*")) if root.is_dir() else []
    for path in files:
        if ".tar" in path.suffixes and path.suffix in COMPRESSED:
            raise DataError(
                f"shard '{path}' is compressed, so its images cannot be read singly; unpack it to .tar"
            )
    return [path for path in files if path.suffix == ".tar"]


def list_shards(paths: list[Path], max_quarantined_share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The samples of all shards, and ``image_path, reason`` of what was refused.

    A sample has ``image_path, image_offset, image_size, image_name``. A shard that breaks off is refused once, and the
    samples before the break are used.

    Raises:
        DataError: more than the share of the shards are damaged, or there is no sample.
    """
    found = Listing()
    for path in paths:
        found.add(path)
    columns = ["image_path", "reason"]
    broken = pd.DataFrame(found.shards, columns=columns, dtype=str)
    check_quarantine(broken, len(paths), max_quarantined_share, "shards")
    if not found.rows:
        raise DataError(
            f"no sample with an image and a caption or class is in '{paths[0]}' and its like; check them"
        )
    rows = pd.DataFrame(found.rows)
    rows["sample_id"] = told_apart(rows["sample_id"])
    return rows, pd.concat(
        [broken, pd.DataFrame(found.members, columns=columns, dtype=str)], ignore_index=True
    )


def _members(path: Path) -> tuple[list[Member], str]:
    """The files in a shard but hidden ones, in their order, and where it breaks off: nothing where it is whole."""
    found: list[Member] = []
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:") as shard:
            while (entry := shard.next()) is not None:
                shard.members.clear()  # type: ignore[attr-defined]  # it would hold every header
                whole = entry.isreg() and not entry.issparse()
                if whole and entry.offset_data + entry.size > size:
                    return found, f"it ends within {entry.name}"
                if not entry.isdir() and not PurePosixPath(entry.name).name.startswith("."):
                    found.append(Member(entry.name, entry.offset_data, entry.size if whole else -1))
            end = stretch(path, shard.offset, tarfile.BLOCKSIZE)
    except (tarfile.TarError, OSError, EOFError) as error:
        return found, str(error)
    if len(end) < tarfile.BLOCKSIZE or any(end):  # tarfile takes a broken header for the end
        return found, f"it breaks off at byte {shard.offset} of {size}"
    return found, ""


def _row(path: Path, members: list[Member]) -> dict[str, Any]:
    images = [member for member in members if f".{member.kind}" in SUFFIXES]
    if len(images) != 1:
        raise BadMemberError(f"has {len(images) or 'no'} image{'s' if images else ''}, not one")
    [image] = images
    if image.size < 0:
        raise BadMemberError("is a link or has holes")
    row: dict[str, Any] = {}
    for member in members:
        if member.kind == "json":
            row |= _columns(_text(path, member))
        elif member.kind in TEXTS:
            row[TEXTS[member.kind]] = _text(path, member).strip()
    if not row.get("caption") and not row.get("label"):
        raise BadMemberError("has neither caption (.txt, .json) nor class (.cls, .json)")
    row |= {
        "sample_id": f"{path.name}/{image.name}",
        "image_name": f"{path}/{image.name}",
        "image_path": str(path),
        "image_offset": image.offset,
        "image_size": image.size,
    }
    if any(written(value) != value for value in row.values() if isinstance(value, str)):
        raise BadMemberError("its name or a text of it is no UTF-8")
    return row


def _text(path: Path, member: Member) -> str:
    if not 0 <= member.size <= LONGEST_TEXT:
        raise BadMemberError(f"its .{member.kind} has more than {LONGEST_TEXT} bytes, or is a link")
    try:
        return stretch(path, member.offset, member.size).decode()
    except UnicodeDecodeError as error:
        raise BadMemberError(f"its .{member.kind} is no UTF-8") from error


def _columns(text: str) -> dict[str, str]:
    """What a table would have, of a sample's JSON."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadMemberError("its .json is damaged") from error
    if not isinstance(values, dict):
        raise BadMemberError("its .json is no object")
    return {name: str(values[name]) for name in TABLE[1:] if isinstance(values.get(name), str | int)}
