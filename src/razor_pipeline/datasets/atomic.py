"""Write beside, fsync, rename: a killed save leaves what was there, never half of a new file."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

MARK = ".writing-"


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a sibling path to write to; it becomes ``path`` when the block ends well, or is removed.

    Where ``path`` is a link, what it points to is replaced, and the link stays.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    beside = path.with_name(f"{MARK}{os.getpid()}-{path.name}")
    try:
        yield beside
        _sync(beside)
        beside.replace(path)
        _sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def replace_directory(path: Path) -> Iterator[Path]:
    """Yield an empty sibling directory to fill; it becomes ``path`` when the block ends well.

    The old directory is moved aside only once the new one is complete on disk, and removed last. Where ``path`` is a
    link, what it points to is replaced, and the link stays.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    _recover(path)
    remove_leftovers(path)
    beside = path.with_name(f"{MARK}{os.getpid()}-{path.name}")
    aside = path.with_name(f"{MARK}old-{path.name}")
    beside.mkdir()
    try:
        yield beside
        for file in beside.rglob("*"):
            _sync(file)
        if path.exists():
            path.rename(aside)
        beside.rename(path)
        _sync(path.parent)
    finally:
        _recover(path)
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left beside ``path``; another living process's files stay.

    What has this process's own number is from before: in a container it has the same one at every start.
    """
    # Nothing but its own name counts: what stands aside for `vit-clip` also ends in `-clip`.
    ours = re.compile(rf"{re.escape(MARK)}(old|\d+)-{re.escape(path.name)}")
    for leftover in list(path.parent.iterdir()):
        named = ours.fullmatch(leftover.name)
        if named and (named[1] == "old" or not _of_another(int(named[1]))):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def _of_another(process: int) -> bool:
    return process != os.getpid() and psutil.pid_exists(process)


def _recover(path: Path) -> None:
    """Put the old directory back where a kill struck between the two renames."""
    aside = path.with_name(f"{MARK}old-{path.name}")
    if aside.exists() and not path.exists():
        aside.rename(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
