"""The most memory that a process holds while it does something, other work before it notwithstanding."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

INTERVAL = 0.02  # seconds between two looks; what is held for a shorter time may be missed
MEGABYTE = 1e6


@dataclass
class Peak:
    """The highest resident set seen so far, in MB."""

    mb: float = 0.0


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Watch this process inside the block; the model and data that it holds already count.

    The operating system's own high-water mark never falls, so of many edits in one process it shows the largest alone.
    """
    peak, process, done = Peak(), psutil.Process(), threading.Event()

    def look() -> None:
        peak.mb = max(peak.mb, process.memory_info().rss / MEGABYTE)

    def watch() -> None:
        while not done.wait(INTERVAL):
            look()

    look()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()
        look()
