"""Which process a run belongs to, whether it still lives, and how old it is."""

from __future__ import annotations

import os
import socket
import time

import psutil


def identity(pid: int | None = None) -> str:
    """``host:pid:start``; the start keeps a later process with the same number apart."""
    pid = os.getpid() if pid is None else pid
    return f"{socket.gethostname()}:{pid}:{_start(pid)}"


def is_gone(process: str) -> bool:
    """Whether a process of this machine has ended; of another machine nothing is known: False."""
    host, pid, _ = process.rsplit(":", 2) if process.count(":") >= 2 else ("", "", "")
    return host == socket.gethostname() and pid.isdigit() and identity(int(pid)) != process


def age_seconds() -> float:
    """Wall seconds since this process started, imports included."""
    return time.time() - psutil.Process().create_time()


def _start(pid: int) -> str:
    """When the process started, in seconds since the epoch; empty where it is gone."""
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return ""
