"""Which process a run belongs to, whether it still lives, and how old it is."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import psutil

BOOT = Path("/proc/sys/kernel/random/boot_id")  # Linux has it, and nobody else
NUMBERING = Path("/proc/self/ns/pid")  # which processes a number counts among; likewise
STARTED = 19  # of the fields behind the name in /proc/<pid>/stat: clock ticks from the boot to the start


def identity(pid: int | None = None) -> str:
    """``host:pid:start``; the start keeps a later process with the same number apart."""
    pid = os.getpid() if pid is None else pid
    return f"{_host()}:{pid}:{_start(pid)}"


def is_gone(process: str) -> bool:
    """Whether a process of this machine has ended; of another machine or container nothing is known: False."""
    host, pid, _ = process.rsplit(":", 2) if process.count(":") >= 2 else ("", "", "")
    return host == _host() and pid.isdigit() and identity(int(pid)) != process


def age_seconds() -> float:
    """Wall seconds since this process started, imports included."""
    return time.time() - psutil.Process().create_time()


def _host() -> str:
    """The machine's name and, on Linux, the namespace of its process numbers.

    Containers may have one name (those on the host's network have the host's) and each counts processes from 1: what
    has the number there is nothing to look up here.
    """
    name = socket.gethostname()
    return f"{name}/{NUMBERING.stat().st_ino}" if BOOT.is_file() and NUMBERING.exists() else name


def _start(pid: int) -> str:
    """When the process started; empty where it is gone.

    On Linux the boot and the clock ticks since then, which stay what they are when somebody sets the clock. Elsewhere
    seconds since the epoch.
    """
    try:
        if not BOOT.is_file():
            return str(psutil.Process(pid).create_time())
        behind_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2]  # a name may hold brackets
        return f"{BOOT.read_text().strip()}-{int(behind_name.split()[STARTED])}"
    except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
        return ""
