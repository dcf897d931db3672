"""Data that were found to lie in their supports, which need not be looked at in every run of a program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.torch_private import DisableTorchFunction

VALID: ContextVar[ValidData | None] = ContextVar("valid_data", default=None)
"""What is known of data here."""


class ValidData:
    """What the first run of a program observed, and in which supports it was found.

    A tensor is known by its memory, its layout and how often it was written into; a support by the constraint that it is, so
    that one made again of what depends on unknowns is never known. After `close` nothing is added: what later runs compute
    is theirs.

    Example:
        >>> data, value = ValidData(), torch.ones(3)
        >>> data.add(value, constraints.positive)
        >>> data.holds(value[:], constraints.positive), data.holds(value, constraints.unit_interval)
        (True, False)
        >>> data.holds(value.neg_(), constraints.positive)
        False
    """

    def __init__(self) -> None:
        self._found: dict[tuple[Any, ...], tuple[Any, torch.UntypedStorage]] = {}
        self._open = True

    def __reduce__(self) -> tuple[type[ValidData], tuple[()]]:
        return ValidData, ()  # a copy's tensors lie elsewhere

    def close(self) -> None:
        """Note nothing more."""
        self._open = False

    @contextmanager
    def here(self) -> Iterator[None]:
        """While this is entered, `VALID` has it."""
        token = VALID.set(self)
        try:
            yield
        finally:
            VALID.reset(token)

    def add(self, value: Tensor, support: Any) -> None:
        """Note that a value lies in a support."""
        key = _key(value, support) if self._open else None
        if key is not None:
            self._found[key] = _base(support), value.untyped_storage()  # its address is not used again while it is kept

    def holds(self, value: Tensor, support: Any) -> bool:
        """Whether the same numbers were found in the same support."""
        key = _key(value, support) if self._found else None
        return key is not None and key in self._found and self._found[key][0] is _base(support)


def _base(support: Any) -> Any:
    while isinstance(support, type(constraints.real_vector)):
        support = support.base_constraint
    return support


def _key(value: Tensor, support: Any) -> tuple[Any, ...] | None:
    """The numbers that a tensor shows; None where that is not known."""
    with DisableTorchFunction():
        if type(value) is not Tensor or value.requires_grad or value.is_inference():
            return None
        try:
            memory = value.untyped_storage()._cdata
        except (NotImplementedError, RuntimeError):  # many tensors in one, as vmap has them
            return None
        return id(_base(support)), memory, value.storage_offset(), value.shape, value.stride(), value.dtype, value._version
