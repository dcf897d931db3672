"""The process of a rank, as other ranks of the same machine can look after it."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process: the machine, or container, in which its number is its own; its number; and when it began, for numbers are used
    again.

    Example:
        >>> Process.of_this().is_gone()
        False
    """

    machine: str
    number: int
    began: str

    @classmethod
    def of_this(cls) -> Process:
        """This process."""
        return cls(_machine(), os.getpid(), (_state(os.getpid()) or ("", ""))[1])

    @classmethod
    def read(cls, text: bytes) -> Process:
        """The inverse of `written`."""
        return cls(**json.loads(text))

    def written(self) -> str:
        """As text, for the store of a process group."""
        return json.dumps(asdict(self))

    def is_gone(self) -> bool | None:
        """Whether it has ended; None where that cannot be seen: on a different machine, or without /proc."""
        if not self.began or self.machine != _machine():
            return None
        found = _state(self.number)
        return found is None or found[1] != self.began or found[0] in "ZX"


def _machine() -> str:
    space = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {os.readlink(space) if space.is_symlink() else ''}"


def _state(number: int) -> tuple[str, str] | None:
    """The letter of its state, and when it began, in ticks since the machine did."""
    try:
        said = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return None
    fields = said.rpartition(")")[2].split()  # its name, in parentheses, may have spaces
    return fields[0], fields[19]
