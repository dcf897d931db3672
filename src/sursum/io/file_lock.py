"""`FileLock`: what one process does at a time, by a lock that ends with its process."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Self

LOOK = 0.02
"""Seconds between two looks at a lock that another has."""


class Held(Exception):
    """Another has the lock: the message names it."""


@dataclass(eq=False)
class FileLock:
    """A lock, until `release` or the end of the process.

    Where the system or its file system has no locks, everybody has it.
    """

    file: IO[str] | None = None

    @classmethod
    def take(cls, path: Path, patience: float = 0.0) -> Self:
        """Take the lock of a file, which is made if its folder is there, and says who has it.

        Args:
            patience: seconds to wait for another.

        Raises:
            Held: another has it, a thread of this process or another process.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     first = FileLock.take(Path(folder, "lock"))
            ...     try:
            ...         FileLock.take(Path(folder, "lock"))
            ...     except Held as error:
            ...         print(error)
            ...     first.release()
            ...     FileLock.take(Path(folder, "lock")).release()
            this process
        """
        try:
            fcntl: Any = import_module("fcntl")  # which Windows does not have
            file = open(path, "a+", encoding="utf-8", opener=_for_this_user)  # noqa: SIM115
        except (ImportError, OSError):
            return cls()
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < until:
                    time.sleep(LOOK)
                    continue
                with file:
                    file.seek(0)
                    raise Held(_named(file.read())) from None
            except OSError:
                file.close()
                return cls()
        with contextlib.suppress(OSError):  # as on a full disk
            file.truncate(0)
            file.write(f"{os.getpid()} {socket.gethostname()}")
            file.flush()
        return cls(file)

    def release(self) -> None:
        """Give it back."""
        if self.file is not None:
            with contextlib.suppress(OSError):
                # A forked child has the file open too: closing it here would leave the lock to the child.
                import_module("fcntl").flock(self.file, import_module("fcntl").LOCK_UN)
            with contextlib.suppress(OSError):
                self.file.close()
            self.file = None


def _for_this_user(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)


def _named(said: str) -> str:
    number, _, machine = said.strip().partition(" ")
    if not number.isdigit():
        return "another process"
    if machine != socket.gethostname():
        return f"process {number} on {machine}"
    return "this process" if int(number) == os.getpid() else f"process {number}"
