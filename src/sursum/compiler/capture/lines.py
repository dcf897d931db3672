"""Which line of the user's program is running: the innermost frame outside torch and outside this package."""

from __future__ import annotations

import dis
import os
import sys
from types import CodeType, FrameType

import torch

from sursum.compiler.graph.graph import Where
from sursum.core.scope import current_site

_COMPILER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_PACKAGE = os.path.dirname(os.path.dirname(_COMPILER)) + os.sep
_TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep
_DISTRIBUTIONS = _TORCH + "distributions" + os.sep
_PRECISION = os.path.join(_PACKAGE, "common", "precision.py")
_OPERATORS = _TORCH + "_ops.py"
_DISPATCH = _TORCH + "utils" + os.sep + "_python_dispatch.py"
_TENSOR = _TORCH + "_tensor.py"
_STANDARD = os.path.dirname(os.path.abspath(os.__file__))


def _belongs_to_program(filename: str) -> bool:
    if filename.startswith((_PACKAGE, _TORCH, "<frozen")):
        return False
    return os.path.dirname(filename) != _STANDARD  # contextlib, functools and their like


def line_of(error: BaseException) -> str | None:
    """`"file.py:123"` of the program's innermost frame that `error` came through, None where there is none."""
    line, at = None, error.__traceback__
    while at is not None:
        filename = at.tb_frame.f_code.co_filename
        line = f"{os.path.basename(filename)}:{at.tb_lineno}" if _belongs_to_program(filename) else line
        at = at.tb_next
    return line


def site_at_work() -> Where:
    """The site that is being scored, and the line that made it."""
    site = current_site()
    return Where(None, None) if site is None else Where(site.name, site.where)


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

    def in_program(self) -> bool:
        """Whether it is the program's own code that looks at a tensor, and neither torch's nor this package's."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            filename = frame.f_code.co_filename
            # The look itself comes from the recorder, through torch's dispatch and the modes of double precision.
            if not filename.startswith((_COMPILER, _PRECISION, _OPERATORS, _DISPATCH, _TENSOR, "<frozen")):
                return _belongs_to_program(filename)
            frame = frame.f_back
        return False

    def catching(self) -> tuple[CodeType, int] | None:
        """The innermost block of the program, a `try` or a `with`, that may catch an error of what is running."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not self._within:
            code = frame.f_code
            if _belongs_to_program(code.co_filename):
                at = (code, frame.f_lasti)
                if at not in self._blocks:
                    self._blocks[at] = _handler(code, frame.f_lasti)
                handler = self._blocks[at]
                if handler is not None:
                    return code, handler
            frame = frame.f_back
        return None


def _handler(code: CodeType, instruction: int) -> int | None:
    """Where `code` goes on after an error of an instruction, if anything there may catch it.

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
