"""One step evaluated for all steps: everything at once, but for what goes round in a circle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from sursum.common.vmap import vmap
from sursum.compiler.graph.graph import Node, Ref, refs_of
from sursum.compiler.scan.body import ScanBody
from sursum.compiler.scan.mapping import rewritten
from sursum.compiler.scan.recurrence import Groups, LoopStep, run_node
from sursum.core.scope import at_site

aten = torch.ops.aten

#: Runs a loop: from a step, its arguments and the number of steps to the sequences of the carry, one element longer.
Recur = Callable[[LoopStep, Groups, int], list[Tensor]]


class Evaluation:
    """The values of a body's graph, computed when they are asked for.

    A value is one tensor for all steps, or, where it differs from step to step, a tensor with a leading dimension T.
    A carry whose next value does not depend on itself is that value, one step later. Those that depend on one another, a
    strongly connected component, are a loop of their own, of the operators between them alone.

    Arguments:
        body: one step.
        init: the carry of the first step (of the last one where `reverse`).
        following: the values of the next carry.
        length: T.
        recur: runs what must be a loop.
        reverse: whether the steps run from the last to the first.
        known: values of all steps that need not be computed.
    """

    def __init__(
        self,
        body: ScanBody,
        init: Sequence[Tensor],
        following: Sequence[int],
        length: int,
        *,
        recur: Recur,
        reverse: bool = False,
        known: Mapping[int, Tensor] | None = None,
    ) -> None:
        self._recur = recur
        self.body, self.init, self.following, self.length, self.reverse = body, init, following, length, reverse
        self.values: dict[int, Tensor] = {**body.fixed, **body.rows}
        self.each: set[int] = set(body.rows)
        if known:
            self.values.update(known)
            self.each.update(known)
        self.last: list[Tensor] = list(init)
        self._reads = [[ref.value for ref in refs_of(node)] for node in body.graph.nodes]
        self._maker = {ref.value: k for k, node in enumerate(body.graph.nodes) for ref in node.outputs if ref is not None}
        self._depends = self._dependencies()
        self._later: dict[int, Callable[[], None]] = {}
        for component in self._components():
            self._resolve(component)

    # Dependences ---------------------------------------------------------------------------------------------

    def _dependencies(self) -> dict[int, int]:
        """For every value the parts of the carry that it depends on, as bits."""
        bits = {value: 1 << k for k, value in enumerate(self.body.carry)}
        for node, reads in zip(self.body.graph.nodes, self._reads, strict=True):
            found = 0
            for value in reads:
                found |= bits.get(value, 0)
            bits.update((ref.value, found) for ref in node.outputs if ref is not None)
        return bits

    def _components(self) -> list[list[int]]:
        """The strongly connected components of the carry, in topological order."""
        count = len(self.following)
        reach = [self._depends.get(id, 0) for id in self.following]
        for k in range(count):
            for j in range(count):
                if reach[j] >> k & 1:
                    reach[j] |= reach[k]
        found: list[list[int]] = []
        for j in sorted(range(count), key=lambda j: (reach[j] | 1 << j).bit_count()):
            if not any(j in component for component in found):
                found.append([k for k in range(count) if k == j or (reach[j] >> k & 1 and reach[k] >> j & 1)])
        return found

    def _resolve(self, component: list[int]) -> None:
        ids = [self.body.carry[k] for k in component]
        if len(component) == 1:
            (k,), (id,) = component, ids
            if self.following[k] == id:  # the same from beginning to end
                self.values[id] = self.init[k]
                return
            if not self._depends.get(self.following[k], 0) >> k & 1:
                self._shift(k, id)
                return
            if self._sum(k, id):
                return
        self._loop(component, ids)

    # Carries ----------------------------------------------------------------------------------------------------------

    def _shift(self, k: int, id: int) -> None:
        after = self.stacked(self.following[k])
        first = self.init[k].unsqueeze(0)
        self.last[k] = after[0] if self.reverse else after[-1]
        self._later[id] = lambda: self._fill(id, torch.cat([after[1:], first] if self.reverse else [first, after[:-1]]))

    def _sum(self, k: int, id: int) -> bool:
        """Whether the carry is a running sum, of terms that do not depend on it."""
        place = self._maker.get(self.following[k])
        node = None if place is None else self.body.graph.nodes[place]
        if node is None or node.op is not aten.add.Tensor or node.kwargs or len(node.args) != 2:
            return False
        others = [arg for arg in node.args if not (isinstance(arg, Ref) and arg.value == id)]
        if len(others) != 1 or not isinstance(others[0], Ref) or self._depends.get(others[0].value, 0) >> k & 1:
            return False
        init = self.init[k]
        if not init.is_floating_point():
            return False
        terms = self.stacked(others[0].value)
        if terms.shape[1:] != init.shape or terms.dtype is not init.dtype:
            return False
        self.last[k] = init + terms.sum(0)

        def later() -> None:
            sums = init + (terms.flip(0).cumsum(0).flip(0) if self.reverse else terms.cumsum(0))
            first = init.unsqueeze(0)
            self._fill(id, torch.cat([sums[1:], first] if self.reverse else [first, sums[:-1]]))
            self._fill(self.following[k], sums)

        self._later[id] = later
        return True

    def _loop(self, component: list[int], ids: list[int]) -> None:
        mask = sum(1 << k for k in component)
        following = [self.following[k] for k in component]
        inside = self._between(following, lambda id: bool(self._depends.get(id, 0) & mask))
        outside = dict.fromkeys(value for j in inside for value in self._reads[j] if not self._depends.get(value, 0) & mask)
        self.need(outside)
        each = [id for id in outside if id in self.each]
        fixed = [id for id in outside if id not in self.each]
        nodes = tuple(self.body.graph.nodes[j] for j in inside)
        step = LoopStep(nodes, tuple(ids), tuple(each), tuple(fixed), tuple(following), self.reverse)
        carry = [self.init[k] for k in component]
        groups = carry, [self.values[id] for id in each], [self.values[id] for id in fixed]
        sequences = self._recur(step, groups, self.length)
        for k, id, after, sequence in zip(component, ids, following, sequences, strict=True):
            self._fill(id, sequence[1:] if self.reverse else sequence[:-1])
            self.last[k] = sequence[0] if self.reverse else sequence[-1]
            if after in self._maker:
                self._fill(after, sequence[:-1] if self.reverse else sequence[1:])

    # Values -----------------------------------------------------------------------------------------------------------

    def _fill(self, id: int, rows: Tensor) -> None:
        self.values[id] = rows
        self.each.add(id)

    def stacked(self, id: int) -> Tensor:
        """A value in all steps, along a leading dimension."""
        self.need([id])
        value = self.values[id]
        return value if id in self.each else value.unsqueeze(0).expand(self.length, *value.shape)

    def need(self, ids: Iterable[int]) -> None:
        """Computes these values."""
        for k in self._between(ids, lambda id: id not in self.values and id not in self._later):
            if not all(ref is None or ref.value in self.values for ref in self.body.graph.nodes[k].outputs):
                self._run(k)

    def total(self, id: int) -> Tensor:
        """The sum of a value over all steps."""
        self.need([id])
        return self.values[id].sum(0) if id in self.each else self.values[id] * self.length

    def _between(self, ids: Iterable[int], wanted: Callable[[int], bool]) -> list[int]:
        """The nodes that values come from, as far back as `wanted`, in their order."""
        found: set[int] = set()
        open_ = list(ids)
        while open_:
            id = open_.pop()
            if id in self._later and id not in self.values:
                self._later.pop(id)()
            k = self._maker.get(id)
            if k is None or not wanted(id) or k in found:
                continue
            found.add(k)
            open_.extend(self._reads[k])
        return sorted(found)

    def _run(self, k: int) -> None:
        node, site = self.body.graph.nodes[k], self.body.sites[k]
        ids = list(dict.fromkeys(self._reads[k]))
        for id in ids:
            if id in self._later and id not in self.values:
                self._later.pop(id)()
        varying = [id for id in ids if id in self.each]

        def run(*tensors: Tensor) -> tuple[Any, ...]:
            return tuple(run_node(rewritten(node.op), node, dict(zip(ids, tensors, strict=True))))

        tensors = [self.values[id] for id in ids]
        with nullcontext() if site is None else at_site(site):
            results = self._map_steps(node, run, tensors, ids, bool(varying))
        for ref, result in zip(node.outputs, results, strict=True):
            if ref is not None:
                self.values[ref.value] = result
                if varying:
                    self.each.add(ref.value)

    def _map_steps(
        self, node: Node, run: Callable[..., tuple[Any, ...]], tensors: list[Tensor], ids: list[int], varying: bool
    ) -> tuple[Any, ...]:
        if not varying:
            return run(*tensors)
        if node.op is aten.index_select.default and ids[0] not in self.each:
            # As one selection: mapped, it would be one of a copy of the table for each step, and its gradient another.
            dim, index = node.args[1] % tensors[0].dim(), tensors[1]
            found = tensors[0].index_select(dim, index.reshape(-1))
            return (found.unflatten(dim, tuple(index.shape)).movedim(dim, 0),)
        dims = tuple(0 if id in self.each else None for id in ids)
        results: tuple[Any, ...] = vmap(run, in_dims=dims)(*tensors)
        return results
