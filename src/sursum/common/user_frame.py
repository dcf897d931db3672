"""The line of the user's program from which sursum was called: for messages, and for warnings to point to."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from types import FrameType

import torch

# Frames of these are passed over.
_INNER = (
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep,
    os.path.dirname(torch.__file__) + os.sep,
    contextlib.__file__,
)


def is_users(filename: str) -> bool:
    """Whether code of a file is neither ours nor torch's."""
    return not filename.startswith(_INNER)


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


def raising_line(error: BaseException) -> str | None:
    """`file.py:12` of the innermost frame outside sursum and torch that an error came through; None where there is none.

    Example:
        >>> try:
        ...     1 / 0
        ... except ZeroDivisionError as error:
        ...     raising_line(error).endswith(":2")
        True
    """
    found, trace = None, error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith(_INNER):
            found = f"{os.path.basename(name)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def warn(text: str, category: type[Warning]) -> None:
    """A warning that points to the innermost line outside sursum and torch, however deep inside it is given.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn("no compiler", UserWarning)
        >>> str(caught[0].message)
        'no compiler'
    """
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INNER):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)
