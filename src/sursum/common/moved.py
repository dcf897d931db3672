"""Functions that became classes of settings: calling one raises an error that shows the new call with the same arguments."""

from __future__ import annotations

import ast
import itertools
import linecache
import sys
from collections.abc import Callable, Collection, Mapping
from types import FrameType
from typing import Any, NoReturn

from sursum.errors import MissingNameError

_LONGEST = 60


def stand_for(
    old: str, new: str, settings: Collection[str], renamed: Mapping[str, str] | None = None
) -> Callable[..., NoReturn]:
    """A stand-in for the function `old`, which is now the class `new`.

    Args:
        settings: the options of the function that are settings of the class; all other arguments are the program's.
        renamed: new names of options; "**" marks a mapping of keyword arguments for the program.

    Example:
        >>> fit = stand_for("fit", "Fit", ("optim", "seed"))
        >>> fit(print, 3, seed=0)
        Traceback (most recent call last):
        sursum.errors.MissingNameError: `fit` is now a class of settings with `run`: write `Fit(print, seed=0).run(3)`.
    """

    def called(*args: Any, **kwargs: Any) -> NoReturn:
        function, given, named = _read_call(sys._getframe(1)) or _show_call(old, args, kwargs)
        model, *rest = [*given, *(["…"] if not given and "model" not in named else [])] or [named.pop("model")]
        options, call = [model], rest
        for name, text in named.items():
            now = (renamed or {}).get(name, name)
            place = options if name in settings and now != "**" else call
            place.append(f"**{text}" if now == "**" or name.startswith("*") else f"{now}={text}")
        made = f"{function.removesuffix(old)}{new}({', '.join(options)})"
        raise MissingNameError(f"`{function}` is now a class of settings with `run`: write `{made}.run({', '.join(call)})`.")

    called.__name__ = called.__qualname__ = old
    called.__doc__ = f"A class of settings with `run` now: `{new}`."
    return called


def _read_call(frame: FrameType) -> tuple[str, list[str], dict[str, str]] | None:
    """The call that a frame is executing, as source: function, positional and keyword arguments; None if unknown."""
    where = next(itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None), (None,) * 4)
    first, last, start, end = where
    lines = linecache.getlines(frame.f_code.co_filename, frame.f_globals)
    if first is None or last is None or start is None or end is None or len(lines) < last:
        return None
    source = [line.encode() for line in lines[first - 1 : last]]
    source[-1] = source[-1][:end]
    source[0] = source[0][start:]
    try:
        call = ast.parse(b"".join(source).decode(), mode="eval").body
    except (SyntaxError, ValueError):
        return None
    if not isinstance(call, ast.Call):
        return None
    stars = itertools.count(1)
    named = {word.arg or "*" * next(stars): _short(ast.unparse(word.value)) for word in call.keywords}
    return ast.unparse(call.func), [_short(ast.unparse(argument)) for argument in call.args], named


def _show_call(old: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, list[str], dict[str, str]]:
    """The same from the values: short ones as a literal, others as an ellipsis."""
    return old, [_word(value) for value in args], {name: _word(value) for name, value in kwargs.items()}


def _word(value: Any) -> str:
    if isinstance(value, (bool, int, float, str, type(None))):
        return _short(repr(value))
    name = getattr(value, "__name__", "")
    return name if name.isidentifier() else "…"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else "…"
