"""Folding: a node whose arguments are all data, or numbers that the text holds, is computed now, once."""

from __future__ import annotations

import torch
from torch import Tensor

from sursum.compiler.graph.graph import Node, Ref, map_refs, refs_of
from sursum.compiler.native.ir.expr import Expr, Exprs
from sursum.compiler.native.ir.program import Loop, Program
from sursum.compiler.native.lower.context import Lowering, Map

#: Larger results are not worth their memory.
MOST = 4_000_000
#: Between these a reciprocal loses nothing.
TINY, HUGE = 1e-290, 1e290


def fold(low: Lowering, node: Node) -> bool:
    """Computes a node of data if it is one. Whether it was.

    A node of nothing but numbers is left to its lowering, so that they stay in the text.
    """
    if node.writes or any(out is None for out in node.outputs):
        return False
    refs = refs_of(node)
    if not any(low.known(ref) is not None for ref in refs):
        return False
    known: dict[Ref, Tensor] = {}
    for ref in refs:
        tensor = _tensor(low, ref)
        if tensor is None:
            return False
        known[ref] = tensor
    if sum(_count(out) for out in node.outputs) > MOST:
        return False
    with torch.no_grad():
        results = node.op(*map_refs(node.args, known.__getitem__), **map_refs(node.kwargs, known.__getitem__))
    for out, result in zip(node.outputs, results if isinstance(results, (tuple, list)) else (results,), strict=True):
        assert out is not None
        low.name_constant(out, result)
    return True


def _count(ref: Ref | None) -> int:
    total = 1
    for n in ref.size if ref is not None else ():
        total *= n
    return total


def _tensor(low: Lowering, ref: Ref) -> Tensor | None:
    """The tensor of data or of one number, in the graph's dtype."""
    known = low.known(ref)
    if known is not None:
        return known.to(ref.dtype)
    found = low.definitions.get(low.alias.get(ref.value, ref.value))
    if isinstance(found, Map) and found.loop.expr.op == "const":
        return torch.full(ref.size, found.loop.expr.data, dtype=ref.dtype)
    return None


def reciprocals(low: Lowering, program: Program, e: Exprs) -> None:
    """Divisions by data become products with its reciprocals, where those are as good."""
    made: dict[int, int | None] = {}

    def reciprocal(value: int) -> int | None:
        if value not in made:
            made[value] = None
            array = low.arrays[program.constants[value]]
            size = array.abs()
            if array.numel() and bool(((size > TINY) & (size < HUGE)).all()):
                made[value] = low.constant(1.0 / array).value
        return made[value]

    def change(x: Expr) -> Expr | None:
        if x.op != "div" or x.args[1].op != "load" or x.args[1].args:
            return None
        value, affine, _ = x.args[1].data
        if value not in program.constants or x.args[1].kind != "f":
            return None
        other = reciprocal(value)
        if other is None:
            return None
        return e.mul(x.args[0], e.load(other, affine, "f"))

    for stage in program.stages:
        if isinstance(stage, Loop):
            stage.expr = e.rewrite(stage.expr, change)
    used = {v for stage in program.stages for v in stage.reads()}
    program.constants = {value: k for value, k in program.constants.items() if value in used}
