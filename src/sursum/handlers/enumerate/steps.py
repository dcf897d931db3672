r"""Discrete sites in the steps of a scan: the forward algorithm, as a loop whose carry has messages instead of states.

.. math:: \alpha_{t}(z_t) = \log p(y_t \mid z_t) + \log \sum_{z_{t-1}} \exp\alpha_{t-1}(z_{t-1})\, p(z_t \mid z_{t-1})

In each step a discrete site has its values along one dimension, and the states that the carry remembers, up to `history` steps
back, along others. After the step what the carry does not remember is summed out, and the rest moves back by one step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from sursum.common.precision import is_double
from sursum.common.pytree import Shape, flatten
from sursum.core.messages import Step
from sursum.core.scan import Scan
from sursum.core.scope import InFrame
from sursum.errors import ScanError
from sursum.handlers.enumerate.elimination import Reduce, eliminate, product
from sursum.handlers.enumerate.potentials import Potential, Variable, possible, tabulated
from sursum.handlers.enumerate.step_pattern import (
    Leaf,
    Message,
    Pattern,
    Place,
    Stepped,
    earlier,
    merge,
    move_back,
    spread,
    where_equal,
)


class Summing(Protocol):
    """What is needed of the handler that collects the terms."""

    plan: Any
    terms: list[Potential]
    variables: list[tuple[Variable, Any]]
    patterns: dict[int, Pattern]

    @property
    def reduce(self) -> Reduce: ...
    @property
    def step(self) -> Stepped | None: ...
    def visible(self) -> dict[int, Variable]: ...
    def reserve(self, count: int, name: str, /) -> list[int]: ...
    def stepping(self, step: Stepped, /) -> AbstractContextManager[None]: ...


@dataclass
class _After:
    """What a step leaves: the next carry and how it depends on the states now, messages, other terms, and outputs."""

    leaves: list[Any]
    found: list[Leaf]
    messages: list[Potential]
    others: list[Potential]
    ys: Any


def sum_steps(
    to: Summing, number: int, names: Sequence[str], loop: Scan, run: Callable[[Scan], Any]
) -> tuple[Sequence[Tensor], Sequence[Tensor], Shape]:
    """Run a scan whose discrete states are summed out, and give the terms that are left to `to`.

    Args:
        to: the handler.
        number: which scan of the program it is.
        names: its discrete sites.
        loop: the scan.
        run: runs a scan.

    Raises:
        ScanError: the carry depends on states further back than the scan's history.
    """
    pattern = to.plan.patterns.get(number) or to.patterns.get(number)
    if pattern is None:
        pattern = to.patterns[number] = _find_pattern(to, names, loop)
    return _SummedScan(to, loop, pattern).run(run)


class _SummedScan:
    """A scan with messages in its carry."""

    def __init__(self, to: Summing, loop: Scan, pattern: Pattern) -> None:
        self.to, self.loop, self.pattern = to, loop, pattern
        self.place_of = {variable: place for place, variable in pattern.variables.items()}
        self.others: list[Potential] = []
        self.shapes: list[torch.Size] = []

    # The loop -------------------------------------------------------------------------------------------------------

    def run(self, run: Callable[[Scan], Any]) -> tuple[Sequence[Tensor], Sequence[Tensor], Shape]:
        pattern, loop = self.pattern, self.loop
        start = self.start()
        carry, shape = flatten(start)
        self.shapes = [leaf.shape for leaf in start[0]]
        summed = Scan(self._body, tuple(carry), shape, loop.xs, loop.xs_shape, loop.length, loop.name)
        last, ys, ys_shape = run(summed)
        own, extra = ys_shape.build(ys)
        carried, messages = shape.build(last)
        states = {place for leaf in pattern.leaves for place in leaf.all}
        step = self.to.step
        for place in sorted(states | {place for message in pattern.messages for place in message.states}):
            variable = pattern.variables[place]
            if step is None:
                self.to.variables.append((variable, ()))
            else:
                step.visible[variable.dim] = variable
        terms = self.to.terms if step is None else step.terms
        terms.extend(self._potentials(messages))
        terms.extend(replace(one, value=value.sum(0)) for one, value in zip(self.others, extra, strict=True))
        leaves, ys_shape = flatten(own)
        return self._leaves(carried), leaves, ys_shape

    def start(self) -> tuple[list[Tensor], list[Tensor]]:
        """The first carry, and the first messages."""
        init = self.loop.init
        carried = [self._wide(leaf, one) for leaf, one in zip(self.pattern.leaves, init, strict=True) if leaf.state is None]
        return carried, [self._first(message) for message in self.pattern.messages]

    def _wide(self, leaf: Leaf, init: Tensor) -> Tensor:
        """A part of the first carry with the dimensions that it has later."""
        if not leaf.states:
            return init
        dims = {self.pattern.variables[place].dim - leaf.events: self.pattern.variables[place].size for place in leaf.states}
        own = {dim: init.shape[dim] for dim in range(-init.dim(), 0)}
        shape = [dims.get(dim, own.get(dim, 1)) for dim in range(min(*dims, -init.dim()), 0)]
        return init.expand(shape).contiguous()

    def _first(self, message: Message) -> Tensor:
        """The message before the first step: of each state that it is the first carry's, otherwise even."""
        dtype = torch.float64 if is_double() else message.dtype
        variables = self._variables(message)
        value = torch.zeros([*(v.size for v in variables), *message.batch], dtype=dtype)
        known = {}
        for leaf, init in zip(self.pattern.leaves, self.loop.init, strict=True):
            if leaf.state in message.states:
                same = where_equal(self._values(leaf.state), init, self.pattern.variables[leaf.state], leaf.events)
                visible = self.to.visible() | {self.pattern.variables[leaf.state].dim: self.pattern.variables[leaf.state]}
                table, over = tabulated(same, visible, len(message.batch))
                log = possible(torch.where(table, 0.0, -math.inf).to(dtype))
                value = value + Potential(log, over).over(variables)
                known[leaf.state] = True
        for place in message.states:
            if place not in known:
                value = value - math.log(self.pattern.variables[place].size)
        return value

    def _body(self, carry: Any, x: Any) -> Any:
        after = self.after(carry, x)
        self.others = [replace(one, value=torch.empty(0)) for one in after.others]
        parts = zip(after.leaves, after.found, self.pattern.leaves, strict=True)
        rest = [self._move_leaf(leaf, found) for leaf, found, kept in parts if kept.state is None]
        carried = [leaf if leaf.shape == shape else leaf.expand(shape) for leaf, shape in zip(rest, self.shapes, strict=True)]
        messages = [self._join(message, after.messages) for message in self.pattern.messages]
        return (carried, messages), (after.ys, [one.value for one in after.others])

    # One step -------------------------------------------------------------------------------------------------------

    def after(self, carry: Any, x: Any) -> _After:
        """Run the body once, and sum out what the next step does not remember."""
        pattern, loop = self.pattern, self.loop
        carried, messages = carry
        used = {place for leaf in pattern.leaves for place in leaf.all}
        visible = {pattern.variables[place].dim: pattern.variables[place] for place in used}
        now = {site: variable for (site, back), variable in pattern.variables.items() if not back}
        step = Stepped(now, visible, frozenset(v.dim for v in pattern.variables.values()))
        with self.to.stepping(step):
            leaves = self._leaves(carried)
            for leaf, value in zip(pattern.leaves, leaves, strict=True):
                if leaf.state is not None:
                    step.states[id(value)] = value, pattern.variables[leaf.state]
            result = loop.body(loop.carry_shape.build(leaves), x)
        following = loop.next_carry(result, "a step")
        around = self.to.visible() | step.visible
        found = [self._depends(leaf, init, step, around) for leaf, init in zip(following, loop.init, strict=True)]
        keep = {(site, back - 1) for leaf in pattern.leaves for site, back in leaf.all} | {
            p for leaf in found for p in leaf.all
        }
        for site, back in keep:
            if back == loop.history:
                raise ScanError(
                    f"{loop.name}: the carry depends on the discrete site {site!r} of {back + 1} steps back and more, and "
                    f"states are summed out that are more than {loop.history} step{'s' * (loop.history > 1)} back. Say how far "
                    f"back the carry looks, su.scan(…, history={loop.history + 1}); a carry that depends on all states before "
                    "it, such as a sum of them, has too many values."
                )
        outside = [variable for variable in around.values() if variable not in self.place_of]
        kept = frozenset((*(pattern.variables[place] for place in keep), *outside))
        terms = [*step.terms, *self._potentials(messages)]
        left = eliminate(terms, kept, reduce=self.to.reduce, named=self.to.plan.plates)
        moved = [(one, any(v in self.place_of for v in one.variables)) for one in left]
        return _After(
            following,
            found,
            [self._move(one) for one, mine in moved if mine],
            [one for one, mine in moved if not mine],
            result[1],
        )

    def _leaves(self, carried: Iterable[Tensor]) -> list[Tensor]:
        """All parts of the carry."""
        rest = iter(carried)
        return [
            next(rest)
            if leaf.state is None
            else spread(self._values(leaf.state), self.pattern.variables[leaf.state], leaf.events)
            for leaf in self.pattern.leaves
        ]

    def _values(self, place: Place) -> Tensor:
        return self.pattern.values[place[0]]()

    def _depends(self, leaf: Any, init: Tensor, step: Stepped, visible: Mapping[int, Variable]) -> Leaf:
        """How a part of the next carry depends on states."""
        if not isinstance(leaf, Tensor):
            return Leaf()
        variable = step.of(leaf)
        if variable is not None and variable in self.place_of:
            return Leaf(state=self.place_of[variable], shape=init.shape, events=leaf.dim() + variable.dim)
        most = min(init.dim(), leaf.dim())
        for events in range(most + 1):
            places = [
                (dim, visible.get(dim + events))
                for dim in range(-leaf.dim(), 0)
                if leaf.shape[dim] != 1 and dim + events < -self.to.plan.nesting and dim < -init.dim()
            ]
            if all(v is not None and v.size == leaf.shape[dim] for dim, v in places):
                states = frozenset(self.place_of[v] for _, v in places if v in self.place_of)
                return Leaf(states=states, shape=init.shape, events=events if states else 0)
        return Leaf()

    def _move_leaf(self, leaf: Tensor, one: Leaf) -> Tensor:
        """A part of the next carry, its states one step further back."""
        variables, events = self.pattern.variables, one.events
        if not one.all:
            return leaf
        base = max(self.to.plan.nesting + events, len(one.shape))  # what lies to the right of the states
        to = {variables[place].dim - events: variables[earlier(place)].dim - events for place in one.all}
        rank = max(-min(to.values()), leaf.dim())
        wide = leaf.reshape([1] * (rank - leaf.dim()) + list(leaf.shape))
        left = [dim for dim in range(-rank, -base) if wide.shape[dim] != 1]
        sizes = [1] * (rank - base) + list(wide.shape[rank - base :])
        for dim in left:
            sizes[to.get(dim, dim)] = wide.shape[dim]
        order = sorted(left, key=lambda dim: to.get(dim, dim))
        ones = [dim for dim in range(-rank, -base) if dim not in order]
        moved = wide.permute([*(dim % rank for dim in (*ones, *order)), *range(rank - base, rank)]).reshape(sizes)
        first = next((place for place in range(rank - base) if sizes[place] != 1), rank - base)
        return moved.reshape(sizes[first:])

    # Messages -------------------------------------------------------------------------------------------------------

    def _variables(self, message: Message) -> list[Variable]:
        return sorted([*(self.pattern.variables[place] for place in message.states), *message.outer])

    def _potentials(self, messages: Iterable[Tensor]) -> list[Potential]:
        return [
            Potential(value, tuple(self._variables(one)), one.scale, one.names, one.plates)
            for value, one in zip(messages, self.pattern.messages, strict=True)
        ]

    def _move(self, one: Potential) -> Potential:
        """A term of the next step: its states one step further back."""
        renamed = {v: self.pattern.variables[earlier(self.place_of[v])] for v in one.variables if v in self.place_of}
        variables = [renamed.get(v, v) for v in one.variables]
        order = sorted(range(len(variables)), key=lambda k: variables[k])
        value = one.value.permute([*order, *range(len(order), one.value.dim())])
        return replace(one, value=value, variables=tuple(variables[k] for k in order))

    def _join(self, message: Message, found: Sequence[Potential]) -> Tensor:
        """The terms that a message is made of, as one table."""
        variables = self._variables(message)
        mine = {self.pattern.variables[place] for place in message.states}
        parts = [one for one in found if not mine.isdisjoint(one.variables)]
        value = product(parts, variables)
        return value.expand([*(v.size for v in variables), *message.batch])

    def grouped(self, found: Sequence[Potential]) -> tuple[Message, ...]:
        """The messages that these terms are, with those that there are already."""
        groups: list[tuple[set[Place], set[Variable], list[Potential]]] = []
        parts: list[tuple[set[Place], set[Variable], list[Potential]]] = [
            (
                {self.place_of[v] for v in one.variables if v in self.place_of},
                {v for v in one.variables if v not in self.place_of},
                [one],
            )
            for one in found
        ]
        parts += [(set(one.states), set(one.outer), []) for one in self.pattern.messages]
        for places, outer, members in parts:
            for group in [group for group in groups if not places.isdisjoint(group[0])]:
                groups.remove(group)
                places, outer, members = places | group[0], outer | group[1], [*group[2], *members]
            groups.append((places, outer, members))
        return tuple(self._message(*group) for group in groups if group[2])

    def _message(self, places: set[Place], outer: set[Variable], members: Sequence[Potential]) -> Message:
        batch = torch.broadcast_shapes(*(one.value.shape[len(one.variables) :] for one in members))
        scales = {dim: scale for one in members for dim, scale in one.plates.items()}
        names = tuple(dict.fromkeys(name for one in members for name in one.names))
        dtype = members[0].value.dtype
        return Message(tuple(sorted(places)), tuple(sorted(outer)), batch, dtype, members[0].scale, names, scales)


def _find_pattern(to: Summing, names: Sequence[str], loop: Scan) -> Pattern:
    """Run the first step until nothing more of the carry turns out to depend on states."""
    variables, values = _list_variables(to, names, loop)
    pattern = Pattern(variables, values, tuple(Leaf(shape=one.shape) for one in loop.init))
    for _ in range(3 + len(loop.init) + 2 * loop.history * len(names)):
        summed = _SummedScan(to, loop, pattern)
        carry = summed.start()
        step = Step(loop.name, None, loop.length, index=0, loop=summed)
        with InFrame(opened=step):
            after = summed.after(carry, loop.xs_shape.build([row[0] for row in loop.xs]))
        leaves = tuple(
            merge(old, move_back(new), init, variables, values)
            for old, new, init in zip(pattern.leaves, after.found, loop.init, strict=True)
        )
        wider = replace(pattern, leaves=leaves, messages=summed.grouped(after.messages))
        if wider.leaves == pattern.leaves and [_kind(m) for m in wider.messages] == [_kind(m) for m in pattern.messages]:
            return wider
        pattern = wider
    raise ScanError(f"{loop.name}: what its carry depends on changes from step to step. Keep its structure the same.")


def _kind(message: Message) -> Any:
    return message.states, message.outer, message.batch, message.names


def _list_variables(
    to: Summing, names: Sequence[str], loop: Scan
) -> tuple[dict[Place, Variable], dict[str, Callable[[], Tensor]]]:
    """A variable for every state, now and up to `history` steps back."""
    dims = to.reserve(len(names) * (loop.history + 1), loop.name)
    variables: dict[Place, Variable] = {}
    for place, name in enumerate(names):
        batch, support = to.plan.sites[name], to.plan.supports[name]
        inside = frozenset(dim for dim in range(-len(batch), 0) if batch[dim] != 1)
        for back in range(loop.history + 1):
            dim = dims[place * (loop.history + 1) + back]
            variables[name, back] = Variable(f"{name}@{back}", name, support.size, inside, dim)
    return variables, {name: to.plan.supports[name].values for name in names}
