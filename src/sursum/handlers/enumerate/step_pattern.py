"""How the states of a scan go from step to step: how its carry depends on them, and what messages are over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from sursum.handlers.enumerate.potentials import Potential, Variable

_SCALAR = torch.Size()

Place = tuple[str, int]
"""A state: its site, and how many steps back it was drawn."""


@dataclass
class Stepped:
    """One step while it runs: the states by dimension, and the terms so far."""

    now: Mapping[str, Variable]
    visible: dict[int, Variable]
    reserved: frozenset[int]
    terms: list[Potential] = field(default_factory=list)
    states: dict[int, tuple[Tensor, Variable]] = field(default_factory=dict)

    def current(self, site: str) -> Variable | None:
        """The variable of a site in this step."""
        return self.now.get(site)

    def made(self, variable: Variable, value: Tensor) -> None:
        """Note that `value` is all the values of a variable."""
        self.visible[variable.dim] = variable
        self.states[id(value)] = value, variable

    def of(self, tensor: Any) -> Variable | None:
        """The variable whose values a tensor is."""
        found = self.states.get(id(tensor))
        return None if found is None else found[1]


@dataclass(frozen=True)
class Leaf:
    """How a part of the carry depends on states: it is the values of one, `state`; or it has dimensions for `states`.

    `shape` is its own shape, right of those dimensions, and `events` how many of its dimensions are not batch dimensions.
    """

    state: Place | None = None
    states: frozenset[Place] = frozenset()
    shape: torch.Size = _SCALAR
    events: int = 0

    @property
    def all(self) -> frozenset[Place]:
        return self.states if self.state is None else frozenset((self.state,))


@dataclass(frozen=True)
class Message:
    """A message: a term of the states that it is over, and of variables outside the scan."""

    states: tuple[Place, ...]
    outer: tuple[Variable, ...]
    batch: torch.Size
    dtype: torch.dtype
    scale: Tensor | float
    names: tuple[str, ...]
    plates: Mapping[int, float]


@dataclass(frozen=True)
class Pattern:
    """How the states of a scan go from step to step: `leaves` of the carry, and `messages`."""

    variables: Mapping[Place, Variable]
    values: Mapping[str, Callable[[], Tensor]]
    leaves: tuple[Leaf, ...]
    messages: tuple[Message, ...] = ()


def where_equal(values: Tensor, init: Tensor, variable: Variable, events: int) -> Tensor:
    """Where each value of a state is that of the first carry: (size at the state's dimension, …)."""
    same = spread(values, variable, events) == init
    return same.flatten(same.dim() - events).all(-1) if events else same


def spread(values: Tensor, variable: Variable, events: int) -> Tensor:
    """Values of (size, *event shape) along the dimension of a variable."""
    return values.reshape([len(values), *[1] * (-variable.dim - 1), *values.shape[values.dim() - events :]])


def merge(
    old: Leaf, new: Leaf, init: Tensor, variables: Mapping[Place, Variable], values: Mapping[str, Callable[[], Tensor]]
) -> Leaf:
    """What a part of the carry is, if it is the first of two before a step and the second after it."""
    if not old.all and new.state is not None:
        same = where_equal(values[new.state[0]](), init, variables[new.state], new.events)
        dim = same.dim() + variables[new.state].dim
        if bool(same.any(dim).all()):
            return new
    if old.state is not None and old.state == new.state:
        return old
    if not old.all and not new.all:
        return old
    return Leaf(states=old.all | new.all, shape=init.shape, events=max(old.events, new.events))


def earlier(place: Place) -> Place:
    return place[0], place[1] + 1


def move_back(leaf: Leaf) -> Leaf:
    """How a part of the carry depends on states one step later."""
    state = None if leaf.state is None else earlier(leaf.state)
    return replace(leaf, state=state, states=frozenset(map(earlier, leaf.states)))
