"""What networks return, for all draws: tensors and distributions are stacked along a leading dimension, (draw, …)."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum.common.torch_private import tree_flatten, tree_unflatten
from sursum.distributions.rebuild import rebuild, tensors
from sursum.distributions.stacked import Stacked
from sursum.errors import PredictionError

_PLAIN = (type(None), bool, int, float, complex, str, bytes, slice, range, enum.Enum, torch.dtype, torch.device, torch.Size)


class Output:
    """What one call of a network returned: its tensors, and the structure around them.

    Raises:
        PredictionError: there is something in it whose tensors are not known.
    """

    def __init__(self, returned: Any, title: str) -> None:
        self.leaves, self.spec = tree_flatten(returned)
        self.title = title
        self.tensors: list[Tensor] = []
        for leaf in self.leaves:
            if isinstance(leaf, Tensor):
                self.tensors.append(leaf)
            elif isinstance(leaf, Distribution):
                self.tensors.extend(tensors(leaf))
            elif not isinstance(leaf, _PLAIN):
                raise PredictionError(
                    f"{title} returns a {type(leaf).__name__}, whose tensors cannot be stacked over draws. Return tensors and "
                    "distributions of torch, by themselves or in tuples, lists and dictionaries, or go through the networks "
                    "one by one: [one(x) for one in nets]."
                )

    def same_structure(self, other: Output) -> bool:
        """Whether `other` differs only in the values of its tensors."""
        return (
            self.spec == other.spec
            and [t.shape for t in self.tensors] == [t.shape for t in other.tensors]
            and all(
                type(a) is type(b) and (not isinstance(a, _PLAIN) or a == b)
                for a, b in zip(self.leaves, other.leaves, strict=True)
            )
        )

    def stacked(self, values: Sequence[Tensor]) -> Any:
        """The same structure with tensors of (draw, *shape)."""
        rest = iter(values)
        leaves = [
            next(rest) if isinstance(leaf, Tensor) else _stack(leaf, rest) if isinstance(leaf, Distribution) else leaf
            for leaf in self.leaves
        ]
        return tree_unflatten(leaves, self.spec)


def _stack(fn: Distribution, values: Iterator[Tensor]) -> Distribution:
    """Distributions of all draws as one of batch shape (draw, *batch): of the same family where that broadcasts rightly."""
    mine = [next(values) for _ in tensors(fn)]
    if not mine:
        return fn
    count = len(mine[0])
    part = lambda k: rebuild(fn, _each([value[k] for value in mine]))
    try:
        whole: Distribution = rebuild(fn, _each(mine))
        _add_dimension(whole, count)
        if torch.compiler.is_compiling() or all(_agrees(whole, part(k), k) for k in {0, count - 1}):
            return whole
    except (ValueError, RuntimeError, IndexError, NotImplementedError):
        pass
    return Stacked([part(k) for k in range(count)], count)


def _each(values: Sequence[Tensor]) -> Any:
    rest = iter(values)
    return lambda _: next(rest)


def _add_dimension(part: Any, count: int) -> None:
    """Count the leading dimension in the batch shape of a distribution and of those inside it."""
    if isinstance(part, Distribution):
        part._batch_shape = torch.Size((count, *part._batch_shape))
        for value in vars(part).values():
            _add_dimension(value, count)
    elif isinstance(part, (list, tuple)) and not isinstance(part, torch.Size):
        for item in part:
            _add_dimension(item, count)


def _agrees(whole: Distribution, one: Distribution, k: int) -> bool:
    """Whether draw k of a stacked distribution scores as it does by itself."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        value = one.sample()
        found = whole.log_prob(value)
        return bool(
            found.shape == whole.batch_shape and torch.allclose(found[k], one.log_prob(value), rtol=1e-4, equal_nan=True)
        )
