"""Generate straight-line Python from a graph: one line per operator, values dropped after their last use."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sursum.compiler.capture.operators import results_of
from sursum.compiler.graph.graph import Graph, Guard, Node, Ref, refs_of
from sursum.compiler.graph.windows import covers, flat, flatten, laid_out, numel_of, put, window

Run = Callable[[Tensor], tuple[int | None, tuple[Tensor, ...]]]


def straight_line(graph: Graph, *, guards: bool, strided: bool) -> tuple[str, Run]:
    """Python source that executes `graph`, and the compiled function.

    The function returns `(None, outputs)`, or `(number of the guard that failed, ())`.

    Args:
        graph: the graph.
        guards: whether guards are checked.
        strided: windows are strides on memory, and a storage is written in place once it is dead; otherwise
            every window is a copy, which also works under vmap.
    """
    writer = _Writer(graph, guards, strided)
    source = writer.write()
    scope = writer.scope
    exec(compile(source, "<replay>", "exec"), scope)
    return source, scope["replay"]


def split_line(
    graph: Graph, *, guards: bool, strided: bool
) -> tuple[tuple[Ref, ...], Callable[..., tuple[int | None, tuple[Tensor, ...]]]]:
    """The windows through which `graph`, which must not write into its input, reads it, and its `straight_line` as a function
    of these tensors.

    Who runs a graph again and again makes the windows of an input that stays the same once. Where these are not `strided`,
    the function's first argument is any tensor that is mapped.
    """
    writer = _Writer(graph, guards, strided)
    if graph.input in writer.written:
        raise NotImplementedError("a graph writes into its input")
    windows = tuple(writer.windows[graph.input])
    exec(compile(writer.write(windows), "<replay>", "exec"), writer.scope)
    return windows, writer.scope["replay"]


def step_line(
    graph: Graph, inputs: Sequence[Ref], told: Sequence[int] = ()
) -> tuple[str, Callable[..., tuple[int | None, tuple[Tensor, ...]]]]:
    """Python source that executes a graph of several inputs, and the function: of a generator, from which its operators draw,
    and of the inputs, tensors of these windows. An input that nothing reads may be any tensor, or None.

    With `told`, numbers of outputs, the function's second argument is a function of a number and of that output, called as
    soon as it is known.
    """
    writer = _Writer(graph, True, True, inputs)
    source = writer.write_step(inputs, told)
    exec(compile(source, "<step>", "exec"), writer.scope)
    return source, writer.scope["step"]


def mapped_step_line(graph: Graph, inputs: Sequence[Ref], mapped: Sequence[int]) -> Callable[..., tuple[Tensor, ...]]:
    """The outputs of a graph of several inputs, without its guards, as a function for vmap.

    Its arguments are any tensor that is mapped, and the inputs, of which those at the places `mapped` are mapped.
    """
    writer = _Writer(graph, False, False, inputs)
    writer.varying = {inputs[k].value for k in mapped}
    exec(compile(writer.write_step(inputs), "<step>", "exec"), writer.scope)
    run = writer.scope["step"]
    return lambda *given: run(*given)[1]


class _Writer:
    """Writes the source of one graph. `scope` binds what the source names: operators, constants, layouts."""

    def __init__(self, graph: Graph, guards: bool, strided: bool, inputs: Sequence[Ref] = ()) -> None:
        self.scope: dict[str, Any] = {"as_strided": torch.as_strided, "results_of": results_of}
        self.graph = graph
        self.guards: dict[int, list[tuple[int, Guard]]] = defaultdict(list)
        for number, guard in enumerate(graph.guards if guards else ()):
            self.guards[guard.ref.value].append((number, guard))
        self.strided = strided
        self.lines: list[str] = []
        self.count = 0
        self.home: dict[int, Ref] = {}  # value → the window that the variable of its name is
        self.names: dict[int, dict[Ref, str]] = defaultdict(dict)  # value → window → variable or constant
        self.inputs = {graph.input, *(ref.value for ref in inputs)}
        self.varying = set(self.inputs)
        self.last: dict[int, int] = {}
        self.windows: dict[int, set[Ref]] = defaultdict(set)
        self.written: set[int] = set()
        self.given = Counter(ref.value for ref in graph.outputs)
        self._survey()

    def _survey(self) -> None:
        """When each value is read last, through which windows, and which are written."""
        for position, node in enumerate(self.graph.nodes):
            for ref in refs_of(node):
                self.last[ref.value] = position
                self.windows[ref.value].add(ref)
            for write in node.writes:
                self.written.add(write.window.value)
                self.last.setdefault(write.value, position)
            for output in node.outputs:
                if output is not None:
                    self.last.setdefault(output.value, position)
        for ref in self.graph.outputs:
            self.last[ref.value] = len(self.graph.nodes)
            self.windows[ref.value].add(ref)
        for guarded in self.guards.values():
            for _, guard in guarded:
                self.windows[guard.ref.value].add(guard.ref)

    def write(self, windows: Sequence[Ref] | None = None) -> str:
        """The source: a function of q, or of these windows on it."""
        graph, values = self.graph, self.graph.values
        if windows is None:
            q = flat(graph.input, values[graph.input].numel, values[graph.input].dtype)
            self._hold(q, "q")
            if self.strided:
                self.lines.append(f"q = {self._bind('laid_out', laid_out(q))}(q)")
        else:
            self.names[graph.input] = {ref: f"q{k}" for k, ref in enumerate(windows)}
        self._guards_of(graph.input)
        self._body()
        names = ["q"] if windows is None or not self.strided else []
        given = ", ".join([*names, *(f"q{k}" for k in range(len(windows or ())))])
        return f"def replay({given}):\n" + "".join(f"    {line}\n" for line in self.lines)

    def _body(self, told: Sequence[int] = ()) -> None:
        """The lines of all operators, and of the result."""
        telling: dict[int, list[int]] = defaultdict(list)
        for number in told:
            telling[self.graph.outputs[number].value].append(number)
        for value in self.graph.constants:
            self._guards_of(value)
        for position, node in enumerate(self.graph.nodes):
            self._node(position, node)
            dead = {ref.value for ref in refs_of(node)} | {ref.value for ref in node.outputs if ref is not None}
            dead |= {write.value for write in node.writes}
            self._drop([value for value in sorted(dead) if self.last[value] == position])
            made = {ref.value for ref in node.outputs if ref is not None} | {write.value for write in node.writes}
            for number in [number for value in sorted(made) for number in telling.pop(value, [])]:
                self.lines.append(f"ready({number}, {self._output(self.graph.outputs[number])})")
        for number in [number for numbers in telling.values() for number in numbers]:
            self.lines.append(f"ready({number}, {self._output(self.graph.outputs[number])})")
        outputs = [self._output(ref) for ref in self.graph.outputs]
        self.lines.append(f"return None, ({''.join(item + ', ' for item in outputs)})")

    def write_step(self, inputs: Sequence[Ref], told: Sequence[int] = ()) -> str:
        """The source of a function of a generator and of several inputs, which tells of some outputs."""
        for k, ref in enumerate(inputs):
            if ref.value not in self.graph.values:
                continue
            plain = self.windows[ref.value] <= {ref} and ref.value not in self.written
            if self.strided:
                self._hold(ref, f"p{k}")
                # A window other than the whole is a place in memory: an input that lies elsewhere is copied then.
                check = _stride_as if plain else laid_out
                self.lines.append(f"p{k} = {self._bind('laid_out', check(ref))}(p{k})")
            elif plain:
                self._hold(ref, f"p{k}")
            else:
                numel = self.graph.values[ref.value].numel
                self._hold(flat(ref.value, numel, ref.dtype), f"p{k}")
                self.lines.append(f"p{k} = {self._bind('flatten', flatten(ref, numel))}(p{k})")
            self._guards_of(ref.value)
        self._body(told)
        leading = [*(["generator"] if self.strided else ["q"]), *(["ready"] if told else [])]
        given = ", ".join([*leading, *(f"p{k}" for k in range(len(inputs)))])
        return f"def step({given}):\n" + "".join(f"    {line}\n" for line in self.lines)

    def _node(self, position: int, node: Node) -> None:
        varies = any(ref.value in self.varying for ref in refs_of(node))
        following = {write.window.value: write.value for write in node.writes}
        targets: dict[Ref, str] = {}
        for old, new in following.items():
            targets |= self._next_version(position, old, new, varies, [w.window for w in node.writes])
        names = [argument.name for argument in node.op._schema.arguments]
        written = {a.name for a in node.op._schema.arguments if a.alias_info is not None and a.alias_info.is_write}
        args = [self._argument(item, targets if names[i] in written else {}) for i, item in enumerate(node.args)]
        args += [f"{key}={self._argument(item, targets if key in written else {})}" for key, item in node.kwargs.items()]
        call = f"{self._bind('op', node.op, node.op.__name__)}({', '.join(args)})"
        fresh = [
            (index, output)
            for index, output in enumerate(node.outputs)
            if output is not None and output.value not in following.values()
        ]
        self._results(node, call, fresh)
        if not self.strided:
            for write in node.writes:
                name = f"v{write.value}"
                self.lines.append(f"{name} = {self._bind('put', put(write.window))}({name}, {targets[write.window]})")
        for value in dict.fromkeys([*following.values(), *(output.value for _, output in fresh)]):
            if varies:
                self.varying.add(value)
            self._guards_of(value)

    def _results(self, node: Node, call: str, fresh: list[tuple[int, Ref]]) -> None:
        """The line that runs the operator, and the variables of its results."""
        if not fresh:
            self.lines.append(call)
            return
        returns = node.op._schema.returns
        if len(returns) == 1 and str(returns[0].type) == "Tensor":
            parts = [call]
        else:
            self.lines.append(f"r = results_of({call})")
            parts = [f"r[{index}]" for index, _ in fresh]
        seen: dict[int, list[tuple[Ref, str]]] = defaultdict(list)
        for (_, output), part in zip(fresh, parts, strict=True):
            seen[output.value].append((output, part))
        for value, results in seen.items():
            self._result(value, results)
        if parts != [call]:
            self.lines.append("del r")

    def _result(self, value: int, results: list[tuple[Ref, str]]) -> None:
        """One variable for a new value. It keeps the recorded layout only if another window depends on it."""
        numel, name = self.graph.values[value].numel, f"v{value}"
        ref, part = results[0]
        plain = value not in self.written and self.windows[value] <= {ref}
        if len(results) == 1 and plain:
            self._hold(ref, name)
            self.lines.append(f"{name} = {part}")
        elif self.strided and len(results) == 1 and covers(ref, numel):
            self._hold(ref, name)
            self.lines.append(f"{name} = {self._bind('laid_out', laid_out(ref))}({part})")
        else:
            self._hold(flat(value, numel, ref.dtype), name)
            self.lines.append(f"{name} = {self._bind('flatten', flatten(ref, numel))}({part})")
            for ref, part in results[1:]:
                self.lines.append(f"{name} = {self._bind('put', put(ref))}({name}, {part})")

    def _next_version(self, position: int, old: int, new: int, varies: bool, windows: list[Ref]) -> dict[Ref, str]:
        """The variable of a storage's next version, and of the windows through which the operator writes it."""
        if old in self.graph.constants and old not in self.home:
            whole = flat(old, self.graph.values[old].numel, self.graph.values[old].dtype)
            self._read(whole)
            self.home[old] = whole
        home = self.home[old]
        source, name = self.names[old][home], f"v{new}"
        mine = [ref for ref in dict.fromkeys(windows) if ref.value == old]
        if self.strided:
            private = old not in self.graph.constants and old not in self.inputs and self.last[old] == position
            self.lines.append(f"{name} = {source}" if private else f"{name} = {source}.clone()")
            self._hold(replace(home, value=new), name)
            return {ref: self._read(replace(ref, value=new)) for ref in mine}
        self._hold(replace(home, value=new), name)
        if varies and old not in self.varying:  # vmap writes only into what it maps
            self.lines.append(f"{name} = {self._bind('mapped', _map_over)}({source}, q)")
        else:
            self.lines.append(f"{name} = {source}")
        targets = {}
        for ref in mine:
            target = self._read(replace(ref, value=new), fresh=True)
            self.lines.append(f"{target} = {target}.clone()")
            targets[ref] = target
        return targets

    def _hold(self, ref: Ref, name: str) -> None:
        self.home[ref.value] = ref
        self.names[ref.value][ref] = name

    def _read(self, ref: Ref, fresh: bool = False) -> str:
        """The variable or constant that is window `ref`."""
        known = self.names[ref.value].get(ref)
        if known is not None and not fresh:
            return known
        if ref.value in self.graph.constants:
            constant = self.graph.constants[ref.value].as_strided(ref.size, ref.stride, ref.offset)
            name = self.names[ref.value][ref] = self._bind("c", constant)
            return name
        home = self.home[ref.value]
        self.count += 1
        name = f"w{self.count}"
        if self.strided:
            view = f"as_strided({self.names[ref.value][home]}, {ref.size}, {ref.stride}, {ref.offset})"
        else:
            view = f"{self._bind('window', window(ref))}({self.names[ref.value][home]})"
        self.lines.append(f"{name} = {view}")
        if not fresh:
            self.names[ref.value][ref] = name
        return name

    def _argument(self, item: Any, targets: dict[Ref, str]) -> str:
        if isinstance(item, Ref):
            return targets.get(item) or self._read(item)
        if isinstance(item, (list, tuple)):
            return f"[{', '.join(self._argument(part, targets) for part in item)}]"
        if isinstance(item, torch.Generator):
            return "generator"
        if item is None or isinstance(item, (bool, int, str)) or (isinstance(item, float) and math.isfinite(item)):
            return repr(item)
        return self._bind("a", item)

    def _guards_of(self, value: int) -> None:
        for number, guard in self.guards[value]:
            test = "item" if guard.ref.size == () else ("all" if guard.kind == "true" else "any")
            negation = "not " if guard.kind == "true" else ""
            self.lines.append(f"if {negation}{self._read(guard.ref)}.{test}(): return {number}, ()")

    def _output(self, ref: Ref) -> str:
        """An output, which its receiver may write to: not a constant, nor a window on something else."""
        name = self._read(ref)
        alone = self.given[ref.value] == 1
        mine = alone and ref.value not in self.graph.constants and ref.value not in self.inputs
        return name if mine and numel_of(ref) == self.graph.values[ref.value].numel else f"{name}.clone()"

    def _drop(self, dead: list[int]) -> None:
        """Drop dead values."""
        dead = [value for value in dead if value not in self.graph.constants and value not in self.inputs]
        gone = dict.fromkeys(name for value in dead for name in self.names[value].values())
        if gone:
            self.lines.append(f"del {', '.join(gone)}")
        for value in dead:
            del self.names[value]

    def _bind(self, kind: str, item: Any, label: str = "") -> str:
        name = f"{kind}{len(self.scope)}" + (f"_{label.replace('.', '_')}" if label else "")
        self.scope[name] = item
        return name


def _stride_as(ref: Ref) -> Callable[[Tensor], Tensor]:
    """A tensor unchanged if it has the recorded strides, wherever it lies; otherwise a copy that has them."""
    size, stride = ref.size, ref.stride

    def strided(tensor: Tensor) -> Tensor:
        if tensor.stride() == stride:
            return tensor
        return torch.empty_strided(size, stride, dtype=tensor.dtype, device=tensor.device).copy_(tensor)

    return strided


def _map_over(tensor: Tensor, q: Tensor) -> Tensor:
    """`tensor`, once for every q that vmap maps over."""
    return torch.where(q.new_ones((), dtype=torch.bool) | (q.sum() == 0), tensor, tensor)
