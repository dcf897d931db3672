"""The line of the user's program that is running: for messages, for warnings to point to, for the C text."""

from __future__ import annotations

import dis
import os
import sys
import warnings
from functools import lru_cache
from types import CodeType, FrameType

import torch

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep
_STANDARD = os.path.dirname(os.path.abspath(os.__file__))
_FROZEN = "<frozen"

_COMPILER = os.path.join(_PACKAGE, "compiler") + os.sep
_PRECISION = os.path.join(_PACKAGE, "common", "precision.py")
_DISTRIBUTIONS = _TORCH + "distributions" + os.sep
_OPERATORS = _TORCH + "_ops.py"
_DISPATCH = _TORCH + "utils" + os.sep + "_python_dispatch.py"
_TENSOR = _TORCH + "_tensor.py"


def is_ours(filename: str) -> bool:
    """Whether code of a file is this package's."""
    return filename.startswith(_PACKAGE)


@lru_cache(maxsize=4096)
def is_users(filename: str) -> bool:
    """Whether code of a file is neither ours nor torch's, nor contextlib's, functools' or their like."""
    return not filename.startswith((_PACKAGE, _TORCH, _FROZEN)) and os.path.dirname(filename) != _STANDARD


def calling_line() -> str | None:
    """`file.py:12` of the innermost frame outside sursum and torch; None where there is none.

    Example:
        >>> calling_line() is None or ":" in calling_line()
        True
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if is_users(name):
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
        if is_users(name):
            found = f"{os.path.basename(name)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def warn(text: str, category: type[Warning]) -> None:
    """Issue a warning that points to the innermost line outside sursum and torch, however deep inside it is called.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn("no compiler", UserWarning)
        >>> str(caught[0].message)
        'no compiler'
    """
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and not is_users(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


class Lines:
    """Finds lines; one belongs to each recording and remembers which files are the program's.

    Arguments:
        within: the code that runs the program: frames outside of it are not the program's.
    """

    def __init__(self, within: CodeType | None = None) -> None:
        self._within = within
        self._blocks: dict[tuple[CodeType, int], int | None] = {}  # instruction → where its error would be caught
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
                name = known[filename] = os.path.basename(filename) if is_users(filename) else ""
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
            if is_users(filename):
                return False
            frame = frame.f_back
        return False

    def in_program(self) -> bool:
        """Whether it is the program's own code that looks at a tensor, and neither torch's nor this package's."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            filename = frame.f_code.co_filename
            # The look itself comes from the recorder, through torch's dispatch and the modes of double precision.
            if not filename.startswith((_COMPILER, _PRECISION, _OPERATORS, _DISPATCH, _TENSOR, _FROZEN)):
                return is_users(filename)
            frame = frame.f_back
        return False

    def catching(self) -> tuple[CodeType, int] | None:
        """The innermost block of the program, a `try` or a `with`, that may catch an error of what is running."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not self._within:
            code = frame.f_code
            if is_users(code.co_filename):
                at = (code, frame.f_lasti)
                if at not in self._blocks:
                    self._blocks[at] = _handler(code, frame.f_lasti)
                handler = self._blocks[at]
                if handler is not None:
                    return code, handler
            frame = frame.f_back
        return None


@lru_cache(maxsize=4096)
def _handler(code: CodeType, instruction: int) -> int | None:
    """Where `code` continues after an error of an instruction, if anything there may catch it.

    A `with` is taken for one that lets errors pass, unless it suppresses them by that name.
    """
    entries = dis._parse_exception_table(code)  # type: ignore[attr-defined]
    names = {found.offset: found.opname for found in dis.get_instructions(code)}
    offsets = sorted(names)
    passed: set[int] = set()
    at: int | None = instruction
    while at is not None and at not in passed:
        passed.add(at)
        target = next((int(entry.target) for entry in entries if entry.start <= at < entry.end), None)
        if target is None:
            return None
        begins = [names[offset] for offset in offsets if offset >= target][:2]
        if begins[0] == "PUSH_EXC_INFO" and (begins[1] != "WITH_EXCEPT_START" or "suppress" in code.co_names):
            return target
        at = target
    return None
