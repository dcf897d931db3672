"""A lock of a file: one has it, and the end of its process gives it back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from sursum.io.file_lock import FileLock, Held

fcntl = pytest.importorskip("fcntl")

OTHER = """
import fcntl, sys
lock = open(sys.argv[1], "a+")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.truncate(0)
print(sys.argv[2], file=lock, flush=True)
print("has it", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("says", "named"),
    [
        (f"77 {socket.gethostname()}", "^process 77$"),
        ("77 another", "^process 77 on another$"),
        ("what nobody writes", "^another process$"),
    ],
)
def test_another_process_has_it_until_it_ends(tmp_path, says, named):
    command = [sys.executable, "-S", "-c", OTHER, str(tmp_path / "lock"), says]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "has it\n"
        with pytest.raises(Held, match=named):
            FileLock.take(tmp_path / "lock")
        process.kill()
    found = FileLock.take(tmp_path / "lock")
    assert found.file is not None
    found.release()


def test_this_process_has_it_until_it_is_released(tmp_path):
    lock = FileLock.take(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == f"{os.getpid()} {socket.gethostname()}"
    with pytest.raises(Held, match="this process"):
        FileLock.take(tmp_path / "lock")
    lock.release()
    lock.release()
    again = FileLock.take(tmp_path / "lock")
    assert again.file is not None
    again.release()


def test_patience_waits_for_it(tmp_path):
    lock = FileLock.take(tmp_path / "lock")
    threading.Timer(0.1, lock.release).start()
    began = time.monotonic()
    again = FileLock.take(tmp_path / "lock", patience=60.0)
    assert again.file is not None
    assert time.monotonic() - began >= 0.09
    with pytest.raises(Held):
        FileLock.take(tmp_path / "lock", patience=0.05)
    again.release()


def test_where_nothing_can_be_locked_everybody_has_it(tmp_path, monkeypatch):
    assert FileLock.take(tmp_path / "no folder" / "lock").file is None

    def refuses(file, how):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuses)
    assert FileLock.take(tmp_path / "lock").file is None


def test_a_child_that_was_forked_meanwhile_does_not_keep_it(tmp_path):
    lock = FileLock.take(tmp_path / "lock")
    child = os.dup(lock.file.fileno())  # what a fork leaves in the child: the same open file
    lock.release()
    FileLock.take(tmp_path / "lock").release()
    os.close(child)
