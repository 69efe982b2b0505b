"""Whether the process of a run still lives."""

import os
import socket
import subprocess
import sys

import psutil
import pytest

from razor_pipeline.tracking import process
from razor_pipeline.tracking.process import identity, is_gone

on_linux = pytest.mark.skipif(not process.BOOT.is_file(), reason="only Linux numbers its boots")


@pytest.fixture(params=["as here", "elsewhere"])
def system(request, monkeypatch, tmp_path):
    if request.param == "elsewhere":
        monkeypatch.setattr(process, "BOOT", tmp_path / "none")


@pytest.mark.usefixtures("system")
def test_this_process_lives():
    assert not is_gone(identity())


@pytest.mark.usefixtures("system")
def test_an_ended_process_is_gone():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    named = identity(child.pid)
    assert not is_gone(named)
    child.communicate(b"\n")
    assert is_gone(named)


def test_a_later_process_with_the_same_number_is_another():
    assert is_gone(f"{process._host()}:{os.getpid()}:1")


@on_linux
def test_of_a_container_with_the_same_name_nothing_is_known(monkeypatch):
    """Control: the same number and start here is a process that has ended."""
    numbering = process.NUMBERING
    monkeypatch.setattr(process, "NUMBERING", process.BOOT)
    there = identity().rpartition(":")[0] + ":1"
    monkeypatch.setattr(process, "NUMBERING", numbering)
    assert there.startswith(f"{socket.gethostname()}/")
    assert not is_gone(there)
    assert is_gone(there.replace(there.split(":")[0], process._host()))


@on_linux
def test_a_process_lives_on_when_the_clock_is_set(monkeypatch):
    named = identity()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: 7.0)
    assert not is_gone(named)


@on_linux
def test_a_process_after_another_boot_is_another(monkeypatch, tmp_path):
    named = identity()
    (tmp_path / "boot").write_text("another\n")
    monkeypatch.setattr(process, "BOOT", tmp_path / "boot")
    assert is_gone(named)


@on_linux
def test_a_process_whose_name_holds_brackets_and_blanks_is_told_apart():
    rename = "open('/proc/self/comm', 'w').write('a) 1 (b) 2'); print(flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", rename], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    plain = identity(child.pid)
    assert child.stdout is not None
    child.stdout.readline()
    renamed = identity(child.pid)
    child.communicate(b"\n")
    assert renamed == plain


def test_of_another_machine_and_of_other_tools_nothing_is_known():
    assert not is_gone("elsewhere:1:1")
    assert not is_gone("")
