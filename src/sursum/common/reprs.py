"""What objects of settings print as: the call that makes them, without what is as usual, and never an address in memory."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from sursum.common.shown import LONGEST, abbreviate

_SHOWN = 4


def call_text(thing: object) -> str:
    """The call that makes `thing`: arguments of its class that it keeps under their names, and that are not as usual.

    Example:
        >>> import sursum as su
        >>> def model(): ...
        >>> su.infer.MCMC(su.infer.NUTS(model), num_chains=2)
        MCMC(NUTS(model), num_chains=2)
    """
    parts: list[str] = []
    by_place = True
    for name, parameter in inspect.signature(type(thing)).parameters.items():
        value = getattr(thing, name, parameter.default)
        by_place = by_place and parameter.kind is not parameter.KEYWORD_ONLY
        if _same(value, parameter.default):
            by_place = False
            continue
        parts.append(text(value) if by_place else f"{name}={text(value)}")
    return f"{type(thing).__name__}({', '.join(parts)})"


def _same(value: Any, usual: Any) -> bool:
    if usual is None and type(value) is dict and not value:  # no entries, which None stands for in a signature
        return True
    return value is usual or (type(value) is type(usual) and isinstance(value, (bool, int, float, str)) and value == usual)


def text(value: Any) -> str:
    """`value` in a few words: functions, classes and networks by their names, of tensors and arrays what they are."""
    if isinstance(value, (Tensor, np.ndarray)):
        return abbreviate(value)
    if isinstance(value, partial):
        words = [text(value.func), *map(text, value.args), *(f"{name}={text(one)}" for name, one in value.keywords.items())]
        return f"partial({', '.join(words)})"
    if isinstance(value, nn.Module):
        return type(value).__name__
    if isinstance(value, type) or inspect.isfunction(value) or inspect.ismethod(value) or inspect.isbuiltin(value):
        return str(value.__qualname__)
    if type(value) is dict:
        return _in("{}", [f"{key!r}: {text(one)}" for key, one in list(value.items())[: _SHOWN + 1]])
    if type(value) in (list, tuple):
        words = [text(one) for one in value[: _SHOWN + 1]]
        if type(value) is tuple and len(words) == 1:
            return f"({words[0]},)"
        return _in("[]" if type(value) is list else "()", words)
    plain = repr(value)
    plain = type(value).__name__ if " at 0x" in plain else plain
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…"


def _in(brackets: str, parts: list[str]) -> str:
    parts = [*parts[:_SHOWN], "…"] if len(parts) > _SHOWN else parts
    return f"{brackets[0]}{', '.join(parts)}{brackets[1]}"


def shapes_text(values: Mapping[str, Any], nothing: str) -> str:
    """Names and shapes of tensors: "mu (), w (3, 2)"; the first few where there are many."""
    named = [f"{name} {tuple(value.shape)}" for name, value in list(values.items())[:8]]
    more = [f"{len(values) - 8} more"] if len(values) > 8 else []
    return ", ".join([*named, *more]) or nothing
