"""The reading half of a lowering: constants, and elements of tensors as expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from sursum.compiler.graph.assumption import about, equal_to
from sursum.compiler.graph.graph import Graph, Node, Ref, Where
from sursum.compiler.graph.windows import contiguous
from sursum.compiler.native.ir.affine import Affine, disjoint, solve
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Data, LoopProgram
from sursum.compiler.native.lower.definitions import NOWHERE, Definition, Map, Patch, kind_of
from sursum.compiler.native.unsupported import UnsupportedOperator


def split_index(ref: Ref, indices: Sequence[Expr], rank: int) -> tuple[Affine, list[Expr], list[int]]:
    """Where an element of a tensor lies: what is affine in the `rank` iterations, and what is computed, with its strides."""
    offset, coefs = ref.offset, [0] * rank
    loose, strides = [], []
    for index, stride, n in zip(indices, ref.stride, ref.size, strict=True):
        if n == 1 or stride == 0:
            continue
        if index.op == "const":
            offset += int(index.data) * stride
        elif index.op == "index":
            offset += index.data.offset * stride
            coefs = [c + d * stride for c, d in zip(coefs, index.data.coefs, strict=True)]
        else:
            loose.append(index)
            strides.append(stride)
    return Affine(offset, tuple(coefs)), loose, strides


class Reader:
    """Reads the values of one graph, as they have been defined so far."""

    def __init__(self, graph: Graph, title: str) -> None:
        self.graph = graph
        self.definitions: dict[int, Definition] = {}
        self.alias: dict[int, int] = {}
        self.node: Node | None = None
        #: By which node a value is made: for a lowering that does several at once.
        self.makers = {out.value: node for node in graph.nodes for out in node.outputs if out is not None}
        dim = graph.values[graph.input].numel
        self.program = LoopProgram(title, dim, graph.input, {graph.input: Data(dim, "f", (dim,))})
        self.program.next = max(graph.values, default=0) + 1
        self.e, self.fresh = self.program.exprs, self.program.fresh
        self._literal: dict[int, Expr] = {}
        for value, tensor in graph.constants.items():
            self._constant(value, tensor, of_graph=True)

    # Constants --------------------------------------------------------------------------------------------------------

    def _constant(self, value: int, tensor: Tensor, *, of_graph: bool = False) -> None:
        kind = kind_of(tensor.dtype)
        if tensor.dtype.is_complex:
            self.fail("complex numbers")
        stored = {"f": torch.float64, "i": torch.int64, "b": torch.bool}[kind]

        def store(constant: Tensor) -> Tensor:
            return constant.detach().to(stored).contiguous()

        flat = store(tensor)

        def computed(constants: Mapping[int, Tensor]) -> Tensor:
            return store(constants[value])

        self.program.constant(value, flat, kind, tuple(tensor.shape), computed if of_graph else None)
        # Arrays stay out of the text, but the zeros and ones of which backward passes are made are not data.
        if flat.numel() and bool((flat == flat[0]).all()):
            number = flat[0].item()
            if number in (0, 1, -1) and str(number) != "-0.0":
                self._literal[value] = self.e.const(number, kind)
                if of_graph:
                    self.program.assumed.append(equal_to(value, tensor))

    def constant(self, tensor: Tensor) -> Ref:
        """A further array for the instance, computed while lowering."""
        value = self.fresh()
        self._constant(value, tensor.reshape(-1))
        return Ref(value, tuple(tensor.shape), contiguous(tensor.shape), 0, tensor.dtype)

    def known(self, ref: Ref, enough: Callable[[Tensor], bool] | None = None) -> Tensor | None:
        """The tensor, where it does not depend on q. The C is right for other numbers where `enough` holds of those too, if it
        does of these."""
        value = self.alias.get(ref.value, ref.value)
        if value not in self.program.constants:
            return None

        def window(storage: Tensor) -> Tensor:
            return storage.as_strided(ref.size, ref.stride, ref.offset)

        found = window(self.program.arrays[self.program.constants[value]])
        if value in self.graph.constants:
            if enough is not None and enough(found):
                holds = enough
                self.program.assumed.append(about(value, lambda storage: holds(window(storage))))
            else:
                self.program.assumed.append(equal_to(value, self.graph.constants[value]))
        return found

    # Reading ----------------------------------------------------------------------------------------------------------

    def fail(self, detail: str = "") -> None:
        """Says that this form of the operator has no C.

        Raises:
            UnsupportedOperator: always.
        """
        node = self.node
        raise UnsupportedOperator(str(node.op) if node else "constant", node.where if node else NOWHERE, detail)

    @property
    def where(self) -> Where:
        """The site that is being lowered."""
        return self.node.where if self.node else NOWHERE

    def load(self, ref: Ref, size: Sequence[int] | None = None) -> Expr:
        """The tensor at iteration (i₀, i₁, …) of `size`, to which it is broadcast."""
        size = ref.size if size is None else size
        return self.read(ref.value, Affine.over(ref.size, ref.stride, ref.offset, len(size)), size, kind_of(ref.dtype))

    def load_at(self, ref: Ref, indices: Sequence[Expr], size: Sequence[int]) -> Expr:
        """The tensor at an index that is itself computed: `indices` has an expression for every dimension."""
        affine, loose, strides = split_index(ref, indices, len(size))
        if not loose:
            return self.read(ref.value, affine, size, kind_of(ref.dtype))
        value = self.alias.get(ref.value, ref.value)
        if (literal := self._constant_everywhere(value)) is not None:
            return literal
        return self.e.load(value, affine, kind_of(ref.dtype), loose, strides)

    def _constant_everywhere(self, value: int) -> Expr | None:
        found = self.definitions.get(value)
        if isinstance(found, Map) and found.loop.expr.op == "const":
            return found.loop.expr
        return self._literal.get(value)

    def read(self, value: int, access: Affine, size: Sequence[int], kind: str) -> Expr:
        """An element of a value, seen through whatever only renames it: constants, copies, untouched windows."""
        e = self.e
        while True:
            value = self.alias.get(value, value)
            if (literal := self._constant_everywhere(value)) is not None:
                return e.cast(literal, kind)
            found = self.definitions.get(value)
            if isinstance(found, Patch):
                step = self._through(found, access, size)
                if step is None:
                    break
                if isinstance(step, Expr):
                    return e.cast(step, kind)
                value, access = step
                continue
            if isinstance(found, Map) and (found.loop.expr.op in ("load", "index")) and not found.loop.expr.args:
                index = solve(access, size, found.loop.store, found.loop.shape)
                if index is None:
                    break
                if found.loop.expr.op == "index":
                    return e.index(found.loop.expr.data.through(index, len(size)))
                value, access = found.loop.expr.data[0], found.loop.expr.data[1].through(index, len(size))
                continue
            break
        return e.load(value, access, kind)

    def _through(self, patch: Patch, access: Affine, size: Sequence[int]) -> tuple[int, Affine] | Expr | None:
        """Where a patched value is really read: in the patch, beside it, or (None) partly here and partly there."""
        piece = patch.piece
        if disjoint(access, size, piece.store, piece.shape):
            return patch.base if isinstance(patch.base, Expr) else (patch.base, access)
        if piece.mode == "add":
            return None
        index = solve(access, size, piece.store, piece.shape)
        if index is None:
            return None
        load = piece.expr
        if load.op == "const":
            return load
        return load.data[0], load.data[1].through(index, len(size))
