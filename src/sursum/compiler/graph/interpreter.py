"""An interpreter of graphs: for the few runs that do not repay writing and compiling Python."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from sursum.compiler.capture.operators import results_of
from sursum.compiler.graph.graph import Graph, Guard, Node, Ref, made_by, refs_of
from sursum.compiler.graph.windows import covers, flat, flatten, laid_out, numel_of, put, window


class Interpreter:
    """Runs a graph operator by operator, as its `straight_line` does; values are dropped after their last use.

    Args:
        graph: the graph.
        guards: whether guards are checked.

    Example:
        >>> from sursum.compiler.capture.capture import capture
        >>> points = torch.ones(2).double(), torch.zeros(2).double()
        >>> graph = capture(lambda q: ((2 * q).sum(),), points, gradient=False)
        >>> Interpreter(graph, guards=True)(torch.ones(2, dtype=torch.float64))
        (None, (tensor(4., dtype=torch.float64),))
    """

    def __init__(self, graph: Graph, *, guards: bool) -> None:
        self._graph = graph
        self._guards: dict[int, list[tuple[int, Guard]]] = defaultdict(list)
        for number, guard in enumerate(graph.guards if guards else ()):
            self._guards[guard.ref.value].append((number, guard))
        self._fixed = {graph.input, *graph.constants}
        self._last: dict[int, int] = {}
        homes: dict[int, Ref] = {}
        several = {graph.input}  # values that are seen through other windows than that of the result of an operator
        for position, node in enumerate(graph.nodes):
            for ref in refs_of(node):
                self._last[ref.value] = position
                if ref.value not in several and ref != homes.get(ref.value):
                    several.add(ref.value)
            for output in node.outputs:
                if output is not None:
                    self._last[output.value] = position
                    if homes.setdefault(output.value, output) is not output:
                        several.add(output.value)
            for write in node.writes:
                several |= {write.value, write.window.value}
                self._last[write.value] = position
        for ref in graph.outputs:
            self._last[ref.value] = len(graph.nodes)
        self._steps = [self._step(position, node, several) for position, node in enumerate(graph.nodes)]
        for value, position in self._last.items():
            if value not in self._fixed and position < len(self._steps):
                self._steps[position].dead.append(value)
        given = Counter(ref.value for ref in graph.outputs)
        self._mine = frozenset(ref for ref in graph.outputs if given[ref.value] == 1 and ref.value not in self._fixed)

    def _step(self, position: int, node: Node, several: Container[int]) -> _Prepared:
        """A node, with the places of what has to be found in each run."""
        plain = node.outputs[0] if len(node.outputs) == 1 and not node.writes else None
        guards = [found for value in made_by(node) for found in self._guards.get(value, ())] if self._guards else []
        step = _Prepared(position, node, list(node.args), dict(node.kwargs), plain, guards)
        for place, item in enumerate(node.args):
            kind = type(item)
            if kind is Ref:
                if item.value in self._graph.constants:
                    step.args[place] = self._graph.constants[item.value].as_strided(item.size, item.stride, item.offset)
                elif item.value in several:
                    step.windows.append((place, item))
                else:
                    step.values.append((place, item.value))
            elif kind is list or kind is tuple:
                step.windows.append((place, item))
        return step

    def __call__(self, q: Tensor) -> tuple[int | None, tuple[Tensor, ...]]:
        """`(None, outputs)` at `q`, or `(number of the guard that failed, ())`."""
        return self._run(_Memory(self._graph, q))

    def mapped(self, q: Tensor, instead: Mapping[int, Any]) -> tuple[Tensor, ...]:
        """The outputs at `q`, which `vmap` maps over, of a graph that writes to nothing; then whether each guard holds.

        An operator whose id is a key of `instead` is run by what stands there.
        """
        memory = _MappedMemory(self._graph, q)
        _, outputs = self._run(memory, instead)
        return (*outputs, *memory.holds)

    def _run(self, memory: _Memory, instead: Mapping[Any, Any] = MappingProxyType({})) -> tuple[int | None, tuple[Tensor, ...]]:
        """The number of a guard that fails, and the outputs."""
        tensors, homes, read = memory.tensors, memory.homes, memory.read
        for value in (self._graph.input, *self._graph.constants) if self._guards else ():
            failed = memory.failing(self._guards.get(value, ()))
            if failed is not None:
                return failed, ()
        for step in self._steps:
            node, plain = step.node, step.plain
            if node.writes:
                self._write(step, memory)
            else:
                args = step.args.copy()
                for place, value in step.values:
                    args[place] = tensors[value]
                for place, item in step.windows:
                    args[place] = _with_tensors(item, read)
                kwargs = step.kwargs and {key: _with_tensors(item, read) for key, item in step.kwargs.items()}
                out = (instead.get(id(node.op), node.op) if instead else node.op)(*args, **kwargs)
                if plain is not None and isinstance(out, Tensor):
                    tensors[plain.value], homes[plain.value] = out, plain
                else:
                    memory.hold(node.outputs, out)
            if step.guards:
                failed = memory.failing(step.guards)
                if failed is not None:
                    return failed, ()
            for value in step.dead:
                del tensors[value], homes[value]
        return None, tuple([self._output(ref, memory) for ref in self._graph.outputs])

    def _write(self, step: _Prepared, memory: _Memory) -> None:
        """Run an operator that writes: into the storage itself if that is dead afterwards, otherwise into a copy."""
        node = step.node
        following = {write.window.value: write.value for write in node.writes}
        for old, new in following.items():
            memory.renew(old, new, private=old not in self._fixed and self._last[old] == step.position)
        arguments = node.op._schema.arguments
        written = {a.name for a in arguments if a.alias_info is not None and a.alias_info.is_write}

        def target(ref: Ref) -> Tensor:
            new = following.get(ref.value)
            return memory.read(ref if new is None else replace(ref, value=new))

        places = [target if argument.name in written else memory.read for argument in arguments]
        args = [_with_tensors(item, place) for item, place in zip(node.args, places, strict=False)]
        kwargs = {key: _with_tensors(item, target if key in written else memory.read) for key, item in node.kwargs.items()}
        fresh = tuple([None if ref is None or ref.value in following.values() else ref for ref in node.outputs])
        memory.hold(fresh, node.op(*args, **kwargs))

    def _output(self, ref: Ref, memory: _Memory) -> Tensor:
        """An output, which its receiver may write to: not a constant, nor a window on something else."""
        found = memory.read(ref)
        return found if ref in self._mine and numel_of(ref) == self._graph.values[ref.value].numel else found.clone()


@dataclass(slots=True)
class _Prepared:
    """A node that is to be run: its arguments with the constants in place, and where values and windows go."""

    position: int
    node: Node
    args: list[Any]
    kwargs: dict[str, Any]
    plain: Ref | None  # the one result of an operator that writes nothing
    guards: list[tuple[int, Guard]]
    values: list[tuple[int, int]] = field(default_factory=list)
    windows: list[tuple[int, Any]] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)


class _Memory:
    """The values of one run: of each a tensor, and the window on the value that it is."""

    def __init__(self, graph: Graph, q: Tensor, *, laid: bool = True) -> None:
        self._graph = graph
        whole = flat(graph.input, graph.values[graph.input].numel, graph.values[graph.input].dtype)
        self.homes: dict[int, Ref] = {graph.input: whole}
        self.tensors: dict[int, Tensor] = {graph.input: laid_out(whole)(q) if laid else q}
        self._laid: set[int] = {graph.input}  # those whose tensors lie in memory as they did while they were recorded

    def read(self, ref: Ref) -> Tensor:
        """The tensor that is this window."""
        value = ref.value
        home = self.homes.get(value)
        if home is None:
            return self._graph.constants[value].as_strided(ref.size, ref.stride, ref.offset)
        if ref == home:
            return self.tensors[value]
        return torch.as_strided(self._whole(value), ref.size, ref.stride, ref.offset)

    def hold(self, outputs: Sequence[Ref | None], out: Any) -> None:
        """Keep the results of an operator."""
        results = [out] if isinstance(out, Tensor) else results_of(out)
        for ref, result in zip(outputs, results, strict=True):
            if ref is None:
                continue
            if ref.value not in self.homes:
                self.homes[ref.value], self.tensors[ref.value] = ref, result
            else:  # one more window on memory that results share
                self._flatten(ref.value)
                self.tensors[ref.value] = put(ref)(self.tensors[ref.value], result)

    def renew(self, old: int, new: int, *, private: bool) -> None:
        """Begin the next version of a storage."""
        if old not in self.homes:
            value = self._graph.values[old]
            self.homes[old] = flat(old, value.numel, value.dtype)
            self.tensors[old] = self._graph.constants[old]
            self._laid.add(old)
        tensor = self._whole(old)
        self.homes[new] = replace(self.homes[old], value=new)
        self.tensors[new] = tensor if private else tensor.clone()
        self._laid.add(new)

    def failing(self, guards: Sequence[tuple[int, Guard]]) -> int | None:
        """The number of the first guard that does not hold."""
        for number, guard in guards:
            seen = self.read(guard.ref)
            if not seen.all() if guard.kind == "true" else seen.any():
                return number
        return None

    def _whole(self, value: int) -> Tensor:
        """The tensor of a value, with the layout that was recorded."""
        if value not in self._laid:
            home = self.homes[value]
            if covers(home, self._graph.values[value].numel):
                self.tensors[value] = laid_out(home)(self.tensors[value])
                self._laid.add(value)
            else:
                self._flatten(value)
        return self.tensors[value]

    def _flatten(self, value: int) -> None:
        """Make the tensor of a value its whole storage, in the order of memory."""
        home, numel = self.homes[value], self._graph.values[value].numel
        whole = flat(value, numel, home.dtype)
        if home != whole:
            self.tensors[value] = flatten(home, numel)(self.tensors[value])
            self.homes[value] = whole
        self._laid.add(value)


class _MappedMemory(_Memory):
    """The same where strides mean nothing: a window on a value is taken of the whole of it, in the order of memory."""

    def __init__(self, graph: Graph, q: Tensor) -> None:
        super().__init__(graph, q, laid=False)
        self._windows: dict[Ref, Tensor] = {}
        self.holds: list[Tensor] = []

    def read(self, ref: Ref) -> Tensor:
        home = self.homes.get(ref.value)
        if home is None or ref == home:
            return super().read(ref)
        found = self._windows.get(ref)
        if found is None:
            self._flatten(ref.value)
            found = self._windows[ref] = window(ref)(self.tensors[ref.value])
        return found

    def failing(self, guards: Sequence[tuple[int, Guard]]) -> int | None:
        """None: what fails somewhere may hold elsewhere."""
        for _, guard in guards:
            seen = self.read(guard.ref)
            self.holds.append(seen.all() if guard.kind == "true" else ~seen.any())
        return None


def _with_tensors(item: Any, read: Callable[[Ref], Tensor]) -> Any:
    """An argument with a tensor for each window."""
    if isinstance(item, Ref):
        return read(item)
    if isinstance(item, (list, tuple)):
        return [_with_tensors(part, read) for part in item]
    return item
