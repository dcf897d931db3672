"""The line of the user's program from which sursum was called."""

from __future__ import annotations

import contextlib
import os
import sys
from types import FrameType

import torch

# Frames of these are passed over.
_INNER = (os.path.dirname(__file__) + os.sep, os.path.dirname(torch.__file__) + os.sep, contextlib.__file__)


def calling_line() -> str | None:
    """`file.py:12` of the innermost frame outside sursum and torch; None where there is none.

    Example:
        >>> calling_line() is None or ":" in calling_line()
        True
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_INNER):
            return f"{os.path.basename(name)}:{frame.f_lineno}"
        frame = frame.f_back
    return None
