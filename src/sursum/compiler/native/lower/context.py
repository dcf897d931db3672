"""What a lowering works with: tensors as loads, results as definitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from sursum.compiler.graph.graph import Graph, Node, Ref
from sursum.compiler.graph.windows import contiguous
from sursum.compiler.native.ir.affine import Affine, covers, disjoint
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Call, Data, Loop, LoopProgram, Operand
from sursum.compiler.native.lower.definitions import Made, Map, Patch, kind_of
from sursum.compiler.native.lower.narrow import NARROW, wrap
from sursum.compiler.native.lower.reading import Reader
from sursum.compiler.native.ops import REDUCTIONS


class Lowering(Reader):
    """Turns the nodes of one graph into definitions of values.

    `e` makes expressions. `load` reads a tensor, `define` gives a node's result as an expression, `reduce` as a
    reduction, `call` as a C function; `fail` says that this form of an operator has no C.
    """

    def __init__(self, graph: Graph, title: str, inner: Callable[[Graph, str, list[str]], LoopProgram]) -> None:
        super().__init__(graph, title)
        self.inner = inner  # lowers a graph inside this one
        self._known: dict[object, int] = {}
        #: Squares that are triangles put into zeros, and the elements of those: see `triangle`.
        self.triangles: dict[int, Ref] = {}

    def size(self, node: Node) -> tuple[int, ...]:
        """The size of a node's (first) result."""
        if node.writes:
            return node.writes[0].window.size
        out = node.outputs[0]
        if out is None:
            self.fail("no tensor comes of it")
        assert out is not None
        return out.size

    def output(self, node: Node, k: int = 0) -> Ref:
        """Result number `k` of a node that is not mutable."""
        out = node.outputs[k]
        if node.writes or out is None:
            self.fail("this form writes into a tensor")
        assert out is not None
        return out

    def finish(self, node: Node, expr: Expr) -> None:
        """Gives the node's (first) result, fresh or written through a window, as an expression over its size."""
        if not node.writes:
            self.define(self.output(node), expr)
            return
        write = node.writes[0]
        known = self.graph.values[write.value]
        self.program.data[write.value] = Data(known.numel, kind_of(known.dtype), write.window.size)
        self.patch(write.value, write.window.value, write.window, expr)

    # Defining ---------------------------------------------------------------------------------------------------------

    def new(self, size: Sequence[int], dtype: torch.dtype = torch.float64) -> Ref:
        """A tensor of our own, contiguous, to be defined."""
        return Ref(self.fresh(), tuple(size), contiguous(size), 0, dtype)

    def declare(self, ref: Ref, count: int | None = None) -> None:
        """Makes a tensor's value known to the program, with `count` elements."""
        if count is None:
            known = self.graph.values.get(ref.value)
            count = known.numel if known else math.prod(ref.size)
        self.program.data[ref.value] = Data(count, kind_of(ref.dtype), ref.size)

    def define(self, ref: Ref, expr: Expr) -> None:
        """Gives a fresh tensor as an expression in (i₀, i₁, …) over its size."""
        self.declare(ref)
        expr = self._hold(expr, ref.dtype)
        store = Affine.over(ref.size, ref.stride, ref.offset)
        key = (self.program.data[ref.value].numel, ref.size, store, expr)
        if key in self._known:  # the same computation once more
            self.alias[ref.value] = self._known[key]
            return
        self._known[key] = ref.value
        if expr.op not in ("const", "index", "load"):
            # Computed once, where it is the same along a dimension.
            still = {d for d, n in enumerate(ref.size) if n > 1 and all(a.coefs[d] == 0 for a in expr.affines())}
            if still and all(ref.size):
                small = self.new([1 if d in still else n for d, n in enumerate(ref.size)], ref.dtype)
                self.define(small, expr)
                expr = self.load(small, ref.size)
        self.definitions[ref.value] = Map(Loop(ref.value, ref.size, store, expr, "set", self.where))

    def _hold(self, expr: Expr, dtype: torch.dtype) -> Expr:
        """`expr` as memory of a dtype holds it."""
        return wrap(self.e, self.e.cast(expr, kind_of(dtype)), dtype, self._dtype_of)

    def _dtype_of(self, value: int) -> torch.dtype | None:
        known = self.graph.values.get(value)
        return None if known is None else known.dtype

    def temporary(self, size: Sequence[int], expr: Expr, kind: str | None = None) -> Ref:
        """An expression as a tensor of our own."""
        dtype = {"f": torch.float64, "i": torch.int64, "b": torch.bool}[kind or expr.kind]
        ref = self.new(size, dtype)
        self.define(ref, expr)
        return ref

    def temporary_like(self, ref: Ref, expr: Expr) -> Ref:
        """An expression as a tensor of our own, laid out as `ref`."""
        mine = Ref(self.fresh(), ref.size, ref.stride, ref.offset, ref.dtype)
        known = self.graph.values.get(ref.value)
        self.declare(mine, known.numel if known else None)
        store = Affine.over(ref.size, ref.stride, ref.offset)
        expr = self.e.cast(expr, kind_of(ref.dtype))
        self.definitions[mine.value] = Map(Loop(mine.value, ref.size, store, expr, "set", self.where))
        return mine

    def pieces(self, value: int) -> list[Patch] | None:
        """The patches of which a value consists that is zero elsewhere, oldest first; None for any other."""
        found: list[Patch] = []
        value = self.alias.get(value, value)
        while isinstance(patch := self.definitions.get(value), Patch):
            found.append(patch)
            if isinstance(patch.base, Expr):
                return found[::-1] if patch.base.data == 0 else None
            value = self.alias.get(patch.base, patch.base)
        return None

    def add_piece(self, new: int, base: int | Expr, patch: Patch) -> None:
        """Gives `new` as `base` plus what a patch puts onto zeros."""
        mode = patch.piece.mode
        # Where the base is zero the sum is the patch.
        value, zero = base, False
        while not isinstance(value, Expr):
            value = self.alias.get(value, value)
            if (literal := self._constant_everywhere(value)) is not None:
                value = literal
                break
            found = self.definitions.get(value)
            if not isinstance(found, Patch):
                break
            if not disjoint(patch.piece.store, patch.piece.shape, found.piece.store, found.piece.shape):
                break
            value = found.base
        if isinstance(value, Expr) and value.data == 0:
            zero = True
        old = patch.piece
        mode = old.mode if zero else "add"
        loop = Loop(new, old.shape, old.store, old.expr, mode, old.where)
        self.definitions[new] = Patch(base, loop, patch.source)

    def patch(self, new: int, old: int | Expr, window: Ref, expr: Expr, *, add: bool = False) -> None:
        """Gives the value `new` as `old` with `window` (its stride and offset, over its size) written or added to."""
        store = Affine.over(window.size, window.stride, window.offset)
        expr = self._hold(expr, window.dtype)
        count = self.program.data[new].numel
        if not isinstance(old, Expr):
            old = self.alias.get(old, old)
            old = self._constant_everywhere(old) or old
        if math.prod(window.size) == 0:
            if isinstance(old, Expr):
                self._fill(new, old)
            else:
                self.alias[new] = old
            return
        if covers(window.size, store, count) and not add:
            self.definitions[new] = Map(Loop(new, window.size, store, expr, "set", self.where))
            return
        if expr.op in ("const",) or (expr.op == "load" and not expr.args):
            source = expr.data[0] if expr.op == "load" else -1
        else:
            temporary = self.temporary(window.size, expr)
            source = temporary.value
            expr = self.load(temporary)
            if expr.op == "load":
                source = expr.data[0]
        mode = "add" if add else "set"
        self.definitions[new] = Patch(old, Loop(new, window.size, store, expr, mode, self.where), source)

    def _fill(self, value: int, expr: Expr) -> None:
        n = self.program.data[value].numel
        self.definitions[value] = Map(Loop(value, (n,), Affine(0, (1,)), expr, "set", self.where))

    def reduce(self, ref: Ref, mode: str, size: Sequence[int], dims: Sequence[int], expr: Expr) -> None:
        """Gives a tensor as the reduction over `dims` of an expression over `size`. The tensor's size has those
        dimensions as 1 or, if its rank is lower, not at all."""
        if mode in ("sum", "prod") and ref.dtype in NARROW:
            wide = self.new(ref.size, torch.int64)
            self.reduce(wide, mode, size, dims, expr)
            self.define(ref, self.load(wide))
            return
        self.declare(ref)
        kept = [d for d in range(len(size)) if d not in dims]
        expr = self.e.cast(expr, kind_of(ref.dtype))
        strides = list(ref.stride)
        if len(ref.size) == len(size):
            coefs = [0 if d in dims or size[d] == 1 else strides[d] for d in range(len(size))]
        else:
            coefs = [0] * len(size)
            for d, s in zip(kept, strides, strict=True):
                coefs[d] = s if size[d] != 1 else 0
        store = Affine(ref.offset, tuple(coefs))
        key = (self.program.data[ref.value].numel, mode, tuple(size), tuple(dims), store, expr)
        if mode != "prod" and 0 not in size:
            # Along a dimension in which the expression does not vary there is nothing to loop over.
            still = [d for d in dims if size[d] > 1 and all(a.coefs[d] == 0 for a in expr.affines())]
            if still:
                times = math.prod([size[d] for d in still])
                size = [1 if d in still else n for d, n in enumerate(size)]
                if mode == "sum":
                    expr = self.e.mul(expr, self.e.const(times, expr.kind))
        if key in self._known:
            self.alias[ref.value] = self._known[key]
            return
        self._known[key] = ref.value
        if math.prod([size[d] for d in dims]) == 1:
            self.definitions[ref.value] = Map(Loop(ref.value, tuple(size), store, expr, "set", self.where))
            return
        if math.prod(size) == 0:
            finite = expr.kind == "f" or mode not in ("max", "min")  # an extreme of nothing has no elements, or is refused
            self._fill(ref.value, self.e.const(REDUCTIONS[mode].empty if finite else 0, expr.kind))
            return
        loop = Loop(ref.value, tuple(size), store, expr, mode, self.where, frozenset(dims))
        self.definitions[ref.value] = Made((loop,))

    def call(
        self, ref: Ref, function: str, *args: Ref | Operand | int | float | str, base: Ref | None = None,
        also: Sequence[Ref] = (),
    ) -> None:  # fmt: skip
        """Gives a tensor as what a C function writes; with `base`, into a copy of that."""
        self.declare(ref)
        for other in also:
            self.declare(other)
        stages: list[Loop | Call] = []
        if base is not None:
            store = Affine.over(ref.size, ref.stride, ref.offset)
            stages.append(Loop(ref.value, ref.size, store, self.load(base, ref.size), "set", self.where))
        written = {ref.value, *(r.value for r in also)}
        final: list[Operand | int | float | str] = []
        for arg in args:
            if isinstance(arg, Ref):
                value = self.alias.get(arg.value, arg.value)
                final.append(Operand(value, arg.offset, arg.value in written))
            else:
                final.append(arg)
        stages.append(Call(ref.value, function, tuple(final), self.where, also=tuple(r.value for r in also)))
        self.definitions[ref.value] = Made(tuple(stages))
        for other in also:
            self.definitions[other.value] = Made((stages[-1],))

    def resolve(self, ref: Ref) -> Ref:
        """The tensor as a window on the value that really holds it, seen through copies and renamings."""
        found = self.load(ref)
        if found.op != "load" or found.args or kind_of(ref.dtype) != found.kind:
            return ref
        value, access, _ = found.data
        return Ref(value, ref.size, access.coefs, access.offset, ref.dtype)

    def dense(self, ref: Ref) -> Ref:
        """The tensor, or a contiguous copy of it where its own layout is another: for calls."""
        flat = Affine.over(ref.size, contiguous(ref.size))
        if flat == Affine.over(ref.size, ref.stride) and kind_of(ref.dtype) == "f":
            return ref
        copy = self.new(ref.size)
        self.definitions[copy.value] = Map(Loop(copy.value, ref.size, flat, self.e.double(self.load(ref)), "set", self.where))
        self.declare(copy)
        return copy

    def blas(self, name: str) -> str:
        """The C expression for a BLAS or LAPACK routine of the instance."""
        if name not in self.program.blas:
            self.program.blas.append(name)
        return f"self->blas[{self.program.blas.index(name)}]"
