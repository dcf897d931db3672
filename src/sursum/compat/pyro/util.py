"""Pyro's utilities that programs use."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.compat.pyro.primitives import set_rng_seed


def get_rng_state() -> dict[str, Any]:
    """The states of the generators of torch, Python and NumPy."""
    return {"torch": torch.get_rng_state(), "random": random.getstate(), "numpy": np.random.get_state()}


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore what `get_rng_state` gave."""
    torch.set_rng_state(state["torch"])
    random.setstate(state["random"])
    if "numpy" in state:
        np.random.set_state(state["numpy"])


def torch_isnan(x: Any) -> bool:
    """Whether there is a NaN in `x`."""
    return bool(torch.isnan(torch.as_tensor(x)).any())


def torch_isinf(x: Any) -> bool:
    """Whether there is an infinity in `x`."""
    return bool(torch.isinf(torch.as_tensor(x)).any())


def warn_if_nan(value: Any, msg: str = "", *, filename: str | None = None, lineno: int | None = None) -> Any:
    """`value`, with a warning if it is a NaN, at the caller's line or at the one that is given."""
    if torch_isnan(value):
        _warn("NaN", msg, filename, lineno)
    return value


def _warn(what: str, msg: str, filename: str | None, lineno: int | None) -> None:
    text = f"Encountered {what}{f': {msg}' if msg else '.'}"
    if filename is None:
        warnings.warn(text, stacklevel=3)
    else:
        warnings.warn_explicit(text, UserWarning, filename, lineno or 0)


def warn_if_inf(
    value: Any,
    msg: str = "",
    allow_posinf: bool = False,
    allow_neginf: bool = False,
    *,
    filename: str | None = None,
    lineno: int | None = None,
) -> Any:
    """`value`, with a warning if it is an infinity of a sign that is not allowed."""
    found = torch.as_tensor(value)
    if (not allow_posinf and bool((found == torch.inf).any())) or (not allow_neginf and bool((found == -torch.inf).any())):
        _warn("an infinity", msg, filename, lineno)
    return value


@contextmanager
def ignore_jit_warnings(filter: Any = None) -> Iterator[None]:
    """A block without torch's warnings about tracing."""
    with warnings.catch_warnings():
        if filter is None:
            warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        for one in filter or ():
            text, category = one if isinstance(one, tuple) else (one, torch.jit.TracerWarning)
            warnings.filterwarnings("ignore", category=category, message=text)
        yield


@contextmanager
def optional(context_manager: Any, condition: bool) -> Iterator[None]:
    """The context manager where `condition` holds, otherwise none."""
    if condition:
        with context_manager:
            yield
    else:
        yield


def deep_getattr(obj: Any, name: str) -> Any:
    """An attribute by a dotted name.

    Example:
        >>> deep_getattr(torch.nn.Linear(2, 1), "weight.shape")
        torch.Size([1, 2])
    """
    for part in name.split("."):
        obj = getattr(obj, part)
    return obj


def torch_item(x: Tensor | float) -> float:
    """A scalar as a number."""
    return x if isinstance(x, (int, float)) else x.item()


__all__ = [
    "deep_getattr",
    "get_rng_state",
    "ignore_jit_warnings",
    "optional",
    "set_rng_seed",
    "set_rng_state",
    "torch_isinf",
    "torch_isnan",
    "torch_item",
    "warn_if_inf",
    "warn_if_nan",
]
