"""Whether a process has ended: also one that nobody has waited for, and one whose number is used again."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from sursum.distributed.processes import Process

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")


def test_a_process_goes_and_is_gone():
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    number = child.pid
    try:
        with open(f"/proc/{number}/stat") as file:
            began = file.read().rpartition(")")[2].split()[19]
        one = Process.read(replace(Process.of_this(), number=number, began=began).written().encode())
        assert one.is_gone() is False
        assert replace(one, began="1").is_gone() is True
        assert replace(one, machine="elsewhere").is_gone() is None
        child.kill()
        os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)  # it has ended, and is still listed
        assert one.is_gone() is True
    finally:
        child.kill()
        child.communicate()
    assert one.is_gone() is True


def test_where_there_is_no_proc_nothing_is_said():
    assert replace(Process.of_this(), began="").is_gone() is None
