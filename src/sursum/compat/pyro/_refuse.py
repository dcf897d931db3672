"""Names of Pyro that are not here: every module of this package says so by name, and what to write instead."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from dis import opmap
from types import FrameType
from typing import NoReturn

from sursum.errors import MissingImportError, MissingNameError


def refusing(module: str, known: Iterable[str], missing: Mapping[str, str]) -> Callable[[str], NoReturn]:
    """A module's `__getattr__` that raises for a name that does not exist.

    Args:
        module: the module as users of Pyro know it, ``pyro.infer``.
        known: the names that it has.
        missing: for a name of Pyro's that it lacks, what to write, as a clause.

    Raises:
        MissingNameError: from the result, for an attribute.
        MissingImportError: from the result, for ``from module import name``.

    Example:
        >>> refusing("pyro.infer", ["SVI"], {"SVGD": "write a guide, and `SVI`"})("SVGD")
        Traceback (most recent call last):
        sursum.errors.MissingNameError: pyro.infer.SVGD is not here: write a guide, and `SVI`.
    """
    known = tuple(known)

    def refuse(name: str) -> NoReturn:
        said = f"{module}.{name} is not here"
        if name.startswith("_"):
            raise MissingNameError(f"{said}.")
        if name in missing:
            said += f": {missing[name]}."
        else:
            close = get_close_matches(name, known, n=3)
            said += f". Did you mean {', '.join(close)}?" if close else "."
        # `from module import name` swallows an AttributeError, and what it says.
        raise MissingImportError(said) if _is_imported() else MissingNameError(said)

    return refuse


def _is_imported() -> bool:
    """Whether the name is wanted by ``from module import name``."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_HERE) and frame.f_code.co_name == "__getattr__":
        frame = frame.f_back
    if frame is None or frame.f_lasti < 0:
        return False
    return frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"]


_HERE = __name__.rpartition(".")[0]
