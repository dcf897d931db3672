"""Terms of a log density as functions of discrete variables: tables with one dimension for each variable, and the plates'."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

LARGEST_TABLE = 2**27
"""The most numbers that a table may have: a gigabyte of doubles."""

_IMPOSSIBLE = {torch.float64: -1e200, torch.float32: -1e30, torch.bfloat16: -1e30}


@dataclass(frozen=True)
class Variable:
    """A discrete variable: the values of a site, in one step of a loop perhaps.

    Args:
        name: unique.
        site: what messages call it.
        size: how many values it has.
        dims: the dimensions of plates and batches, negative, along which its elements are different variables.
        dim: the dimension along which the program has its values.
    """

    name: str
    site: str
    size: int
    dims: frozenset[int]
    dim: int

    def __lt__(self, other: Variable) -> bool:
        return self.name < other.name


@dataclass(frozen=True)
class Potential:
    """A term: `value` has one dimension for each of `variables`, in order, then those of plates and batches.

    Args:
        scale: a factor for what the term is summed to, other than that of plates.
        names: the sites that it is made of.
        plates: the scale of each dimension of plates of which only some elements are present.
        counted: where the term of a masked site, whose probabilities are in the table all the same, is one of the log density.
    """

    value: Tensor
    variables: tuple[Variable, ...]
    scale: Tensor | float = 1.0
    names: tuple[str, ...] = ()
    plates: Mapping[int, float] = field(default_factory=dict)
    counted: Tensor | None = None

    @property
    def nesting(self) -> int:
        """How many dimensions belong to plates and batches."""
        return self.value.dim() - len(self.variables)

    @property
    def dims(self) -> frozenset[int]:
        """The dimensions of plates and batches that it has."""
        return frozenset(dim for dim in range(-self.nesting, 0) if self.value.shape[dim] != 1)

    def over(self, variables: Sequence[Variable]) -> Tensor:
        """Its table with a dimension for each of `variables`, of size 1 where it does not depend on one."""
        plates = self.value.shape[len(self.variables) :]
        sizes = [v.size if v in self.variables else 1 for v in variables]
        order = [self.variables.index(v) for v in variables if v in self.variables]
        moved = self.value.permute([*order, *range(len(order), self.value.dim())])
        return moved.reshape([*sizes, *plates])


def tabulated(term: Tensor, visible: Mapping[int, Variable], nesting: int) -> tuple[Tensor, tuple[Variable, ...]]:
    """The table and the variables of a term that has, left of the plates, dimensions with the values of what it depends on.

    Args:
        visible: the variable that each such dimension belongs to.
        nesting: how many dimensions belong to plates and batches.
    """
    wide = term.reshape([1] * max(nesting - term.dim(), 0) + list(term.shape))
    extra = wide.dim() - nesting
    depends = sorted((visible[place - wide.dim()], place) for place in range(extra) if wide.shape[place] != 1)
    variables = tuple(variable for variable, _ in depends)
    ones = [place for place in range(extra) if wide.shape[place] == 1]
    moved = wide.permute([*(place for _, place in depends), *ones, *range(extra, wide.dim())])
    return moved.reshape([*(v.size for v in variables), *wide.shape[extra:]]), variables


def possible(value: Tensor) -> Tensor:
    """A log density without −∞: a number so small that its exponential is zero, and that has a gradient, zero."""
    return value.clamp(min=_IMPOSSIBLE.get(value.dtype, -1e4))


def impossible(value: Tensor) -> Tensor:
    """The inverse of `possible`, for a sum: −∞ where nothing is possible.

    Added, and not chosen: so the gradient does not wait for the sum.
    """
    least = _IMPOSSIBLE.get(value.dtype, -1e4) / 2
    zero = torch.zeros_like(value)
    return value + torch.where(value.detach() <= least, zero - math.inf, zero)
