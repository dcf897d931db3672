"""Integer range analysis: the range of a value, by the way it was computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from sursum.compiler.graph.assumption import Assumption, about
from sursum.compiler.graph.graph import Graph, Node, Ref, arguments_of, is_inner, made_by
from sursum.compiler.graph.indexed_operators import family
from sursum.compiler.graph.windows import covers

#: The smallest and the largest value, both included.
Range = tuple[int, int]
#: A function that returns the range of a window, if known.
Asked = Callable[[Any], Range | None]

#: Numbers of at most this size are sums and products without rounding, whatever the type; beyond it nothing is said.
EXACT = {torch.float16: 2**8, torch.bfloat16: 2**6, torch.float32: 2**20, torch.float64: 2**40, torch.int8: 2**7 - 1,
         torch.uint8: 2**8 - 1, torch.int16: 2**15 - 1, torch.int32: 2**31 - 1, torch.int64: 2**63 - 1}  # fmt: skip


class Ranges:
    """The ranges of the values of one graph, computed node by node: `learn` in order, then query `of`.

    A value without a range may be anything, including NaN; one with a range has integer ends, and is never NaN:
    a NaN becomes an arbitrary integer when it is cast to one.

    Args:
        graph: the graph.
        inputs: the range of a window on the graph's input, if more is known than that it is a vector.

    Example:
        >>> from sursum.compiler.capture.capture import capture
        >>> points = torch.ones(3).double(), torch.zeros(3).double()
        >>> graph = capture(lambda q: (q.argmax() + 2,), points, gradient=False)
        >>> ranges = Ranges(graph)
        >>> for node in graph.nodes:
        ...     ranges.learn(node)
        >>> ranges.of(graph.outputs[0])
        (2, 4)
    """

    def __init__(self, graph: Graph, inputs: Callable[[Ref], Range | None] = lambda ref: None) -> None:
        self._graph, self._inputs = graph, inputs
        self._known: dict[int, Range | None] = {}
        #: Value → the constants, and the windows on the input, by whose ranges its own is known.
        self._of: dict[int, frozenset[int | Ref]] = {}
        self._asked: set[int | Ref] = set()
        self._used: set[int | Ref] = set()

    def of(self, item: Any) -> Range | None:
        """The range of a tensor or of a number."""
        if isinstance(item, (bool, int)):
            return int(item), int(item)
        if isinstance(item, float):
            return (int(item), int(item)) if item.is_integer() else None
        if isinstance(item, (list, tuple)):
            return _union(*(self.of(part) for part in item)) if item else None
        if not isinstance(item, Ref):
            return None
        if item.dtype is torch.bool:
            return 0, 1
        if item.value == self._graph.input:
            self._asked.add(item)
            return self._inputs(item)
        if item.value in self._graph.constants and item.value not in self._known:
            self._known[item.value] = _range_of_constant(self._graph.constants[item.value])
            self._of[item.value] = frozenset([item.value])
        self._asked.update(self._of.get(item.value, ()))
        return self._known.get(item.value)

    def use(self, item: Any) -> Range | None:
        """Like `of`, for a range that is going to be relied on."""
        self._asked.clear()
        found = self.of(item)
        if found is not None:
            self._used |= self._asked
        return found

    @property
    def assumed(self) -> tuple[Assumption, ...]:
        """What has been used of the numbers of constants."""
        known = [(id, self._known[id]) for id in self._used if isinstance(id, int)]
        return tuple(about(id, partial(_lies_in, *found)) for id, found in known if found is not None)

    @property
    def used_inputs(self) -> list[Ref]:
        """The windows on the input whose ranges have been used."""
        return [ref for ref in self._used if isinstance(ref, Ref)]

    def learn(self, node: Node) -> None:
        """Compute the ranges of a node's results from known ones."""
        name = family(node)
        self._asked.clear()
        self._learn(node, name)
        relied = frozenset(self._asked)
        for value in made_by(node):
            self._of[value] = relied

    def _learn(self, node: Node, name: str) -> None:
        if node.writes:
            if len(node.writes) == 1:
                window, value = node.writes[0].window, node.writes[0].value
                made = self._made(node, name, 0, window)
                whole = covers(window, self._graph.values[value].numel)
                self._known[value] = made if whole else _union(made, self.of(window))
            return
        for k, output in enumerate(node.outputs):
            if output is not None:
                self._known[output.value] = self._made(node, name, k, output)

    def _made(self, node: Node, name: str, k: int, output: Ref) -> Range | None:
        """The range of result number `k`."""
        if is_inner(node.op):
            return None
        args = arguments_of(node)
        rule = _FORMULAS.get(name) if k == 0 else None
        found = _place(name, k, args) or (rule(args, self.of, output) if rule else None)
        most = EXACT.get(output.dtype, 0)
        return found if found is not None and -most <= found[0] and found[1] <= most else None


def _range_of_constant(constant: torch.Tensor) -> Range | None:
    if not constant.numel() or not bool(torch.isfinite(constant).all()):
        return None
    low, high = math.floor(constant.min().item()), math.ceil(constant.max().item())
    return low, high


def _lies_in(low: int, high: int, constant: torch.Tensor) -> bool:
    found = _range_of_constant(constant)
    return found is not None and low <= found[0] and found[1] <= high


def _union(*ranges: Range | None) -> Range | None:
    known = [r for r in ranges if r is not None]
    return (min(r[0] for r in known), max(r[1] for r in known)) if len(known) == len(ranges) and known else None


# What is a place by what it means -------------------------------------------------------------------------------------


def _place(name: str, k: int, args: Mapping[str, Any]) -> Range | None:
    """The range of a result that is an index."""
    x = args.get("self")
    if (name, k) in _PLACES and isinstance(x, Ref):
        dim = args.get("dim", -1)
        if name in ("argmax", "argmin") and dim is None:
            return 0, max(math.prod(x.size) - 1, 0)
        return 0, max(x.size[dim if isinstance(dim, int) else -1] - 1, 0) if x.size else 0
    if name in ("searchsorted", "bucketize") and k == 0:
        return 0, args["sorted_sequence" if name == "searchsorted" else "boundaries"].size[-1]
    if (name, k) == ("max_pool2d_with_indices", 1) and isinstance(x, Ref) and set(args["dilation"]) <= {1}:
        return 0, math.prod(x.size[-2:]) - 1
    if (name, k) in _PIVOTS:
        return 1, max(args["A"].size[-2], 1)
    return None


_PLACES = frozenset({("argmax", 0), ("argmin", 0), ("max", 1), ("min", 1), ("sort", 1), ("topk", 1), ("kthvalue", 1),
                     ("mode", 1), ("median", 1), ("nanmedian", 1), ("cummax", 1), ("cummin", 1), ("argsort", 0)})  # fmt: skip
_PIVOTS = frozenset({("linalg_lu_factor_ex", 1), ("_linalg_solve_ex", 2), ("_linalg_det", 2), ("_linalg_slogdet", 3)})


# Arithmetic -----------------------------------------------------------------------------------------------------------


def _sum(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    return _plus(of(args["self"]), _scale(of(args["other"]), args["alpha"]))


def _difference(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    return _plus(of(args["self"]), _scale(of(args["other"]), _negative(args["alpha"])))


def _reverse_subtract(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    return _plus(of(args["other"]), _scale(of(args["self"]), _negative(args["alpha"])))


def _negative(factor: Any) -> Any:
    return -int(factor) if isinstance(factor, bool) else -factor


def _plus(a: Range | None, b: Range | None) -> Range | None:
    return None if a is None or b is None else (a[0] + b[0], a[1] + b[1])


def _scale(a: Range | None, factor: Any) -> Range | None:
    if a is None or factor != int(factor):
        return None
    return _times(a, (int(factor), int(factor)))


def _times(a: Range | None, b: Range | None) -> Range | None:
    if a is None or b is None:
        return None
    ends = [x * y for x in a for y in b]
    return min(ends), max(ends)


def _product(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    return _times(of(args["self"]), of(args["other"]))


def _opposite(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    return _times(of(args["self"]), (-1, -1))


def _size(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    found = of(args["self"])
    if found is None:
        return None
    low = 0 if found[0] <= 0 <= found[1] else min(map(abs, found))
    return low, max(map(abs, found))


def _clamp(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    """Of an integer it is enough to know the bounds; a NaN stays one."""
    x: Ref = args["self"]
    found = of(x)
    if found is None:
        if x.dtype.is_floating_point:
            return None
        found = -(2**63), 2**63 - 1
    low, high = args.get("min"), args.get("max")
    if low is not None:
        bound = of(low)
        found = (found[0], found[1]) if bound is None else (max(found[0], bound[0]), max(found[1], bound[1]))
        if bound is None:
            return None
    if high is not None:
        bound = of(high)
        if bound is None:
            return None
        found = min(found[0], bound[0]), min(found[1], bound[1])
    return found


def _smaller(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    a, b = of(args["self"]), of(args["other"])
    return None if a is None or b is None else (min(a[0], b[0]), min(a[1], b[1]))


def _larger(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    a, b = of(args["self"]), of(args["other"])
    return None if a is None or b is None else (max(a[0], b[0]), max(a[1], b[1]))


def _either(*names: str) -> Callable[[Mapping[str, Any], Asked, Ref], Range | None]:
    """One of several arguments."""
    return lambda args, of, output: _union(*(of(args[name]) for name in names if name in args))


def _remainder(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    """0 … n − 1 for integers; for other numbers also n: the remainder of −10⁻²⁰ rounds to it."""
    a, n = args["self"], of(args["other"])
    if n is None or n[0] <= 0 or output.dtype.is_floating_point:
        return None
    found = of(a)
    return found if found is not None and found[0] >= 0 and found[1] < n[0] else (0, n[1] - 1)


def _quotient(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    a, n = of(args["self"]), of(args["other"])
    if a is None or n is None or n[0] <= 0 or output.dtype.is_floating_point:
        return None
    ends = [x // y for x in a for y in n]
    return min(ends), max(ends) + (args.get("rounding_mode") == "trunc" and min(ends) < 0)


def _cast(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    return of(args["self"])


def _total(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    x: Ref = args["self"]
    found, count = of(x), math.prod(x.size) // max(math.prod(output.size), 1)
    return None if found is None or output.dtype.is_floating_point else (found[0] * count, found[1] * count)


def _totals(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    x: Ref = args["self"]
    found, count = of(x), x.size[args["dim"]] if x.size else 1
    if found is None or output.dtype.is_floating_point:
        return None
    return min(found[0], found[0] * count), max(found[1], found[1] * count)


def _count(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    return 0, math.prod(args["self"].size)


def _ramp(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    found = of(args["self"])
    return None if found is None else (max(found[0], 0), max(found[1], 0))


def _bits(args: Mapping[str, Any], of: Asked, output: Ref) -> Range | None:
    """Of a bitwise and: no more than what is not negative has."""
    known = [r for r in (of(args["self"]), of(args["other"])) if r is not None and r[0] >= 0]
    return (0, min(r[1] for r in known)) if known else None


_FORMULAS: Mapping[str, Callable[[Mapping[str, Any], Asked, Ref], Range | None]] = {
    "add": _sum,
    "sub": _difference,
    "rsub": _reverse_subtract,
    "mul": _product,
    "neg": _opposite,
    "abs": _size,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": _clamp,
    "minimum": _smaller,
    "maximum": _larger,
    "where": _either("self", "other"),
    "masked_fill": _either("self", "value"),
    "remainder": _remainder,
    "floor_divide": _quotient,
    "div": _quotient,
    "_to_copy": _cast,
    "copy": _either("src"),
    "fill": _either("value"),
    "sum": _total,
    "cumsum": _totals,
    "count_nonzero": _count,
    "bitwise_and": _bits,
    "relu": _ramp,
    **{name: _either("self") for name in (
        "clone", "index", "index_select", "gather", "take", "flip", "roll", "repeat", "alias", "amax", "amin", "max", "min",
        "sort", "topk", "kthvalue", "median", "cummax", "cummin", "unfold_copy", "view_copy", "expand_copy", "floor", "ceil",
        "round", "trunc",
    )},
    "embedding": _either("weight"),
    "cat": _either("tensors"),
    "stack": _either("tensors"),
    **{name: _either("self", "src", "value") for name in ("scatter", "select_scatter", "slice_scatter")},
    "index_put": lambda args, of, output: None if args["accumulate"] else _union(of(args["self"]), of(args["values"])),
    "constant_pad_nd": _either("self", "value"),
}  # fmt: skip
