"""Whether the process of a run still lives."""

import os
import socket
import subprocess
import sys

from razor_pipeline.tracking.process import identity, is_gone


def test_this_process_lives():
    assert not is_gone(identity())


def test_an_ended_process_is_gone():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    named = identity(child.pid)
    assert not is_gone(named)
    child.communicate(b"\n")
    assert is_gone(named)


def test_a_later_process_with_the_same_number_is_another():
    assert is_gone(f"{socket.gethostname()}:{os.getpid()}:1")


def test_of_another_machine_and_of_other_tools_nothing_is_known():
    assert not is_gone("elsewhere:1:1")
    assert not is_gone("")
