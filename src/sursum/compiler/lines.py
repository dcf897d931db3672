"""Which line of the user's program is running: the innermost frame outside torch and outside this package."""

from __future__ import annotations

import os
import sys
from types import FrameType

import torch

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep
_DISTRIBUTIONS = _TORCH + "distributions" + os.sep
_STANDARD = os.path.dirname(os.path.abspath(os.__file__))


def _belongs_to_program(filename: str) -> bool:
    if filename.startswith((_PACKAGE, _TORCH, "<frozen")):
        return False
    return os.path.dirname(filename) != _STANDARD  # contextlib, functools and their like


class Lines:
    """Finds lines; one belongs to each recording and remembers which files are the program's."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}  # file → its name if it is the program's, else ""

    def current(self) -> str | None:
        """`"file.py:123"` of the program's innermost frame, None where there is none.

        >>> Lines().current() is None or ":" in Lines().current()
        True
        """
        known = self._known
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            filename = frame.f_code.co_filename
            name = known.get(filename)
            if name is None:
                name = known[filename] = os.path.basename(filename) if _belongs_to_program(filename) else ""
            if name:
                return f"{name}:{frame.f_lineno}"
            frame = frame.f_back
        return None

    def in_validation(self) -> bool:
        """Whether `torch.distributions` is what the program has called: it looks at tensors only to check them."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            filename = frame.f_code.co_filename
            if filename.startswith(_DISTRIBUTIONS):
                return True
            if _belongs_to_program(filename):
                return False
            frame = frame.f_back
        return False
