"""Which process a run belongs to, and whether it still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def identity(pid: int | None = None) -> str:
    """``host:pid:start``; the start keeps a later process with the same number apart."""
    pid = os.getpid() if pid is None else pid
    return f"{socket.gethostname()}:{pid}:{_start(pid)}"


def is_gone(process: str) -> bool:
    """Whether a process of this machine has ended; of another machine nothing is known: False."""
    host, pid, _ = process.rsplit(":", 2) if process.count(":") >= 2 else ("", "", "")
    return host == socket.gethostname() and pid.isdigit() and identity(int(pid)) != process


def _start(pid: int) -> str:
    """Kernel ticks at which the process started; empty where it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return "alive" if _answers(pid) else ""
    return stat.rpartition(")")[2].split()[19]


def _answers(pid: int) -> bool:
    """Where there is no /proc: whether a signal would reach the process."""
    if Path("/proc").is_dir():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
