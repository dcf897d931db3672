"""Folding: a node whose arguments are all data, or numbers that the text holds, is computed now, once."""

from __future__ import annotations

import torch
from torch import Tensor

from sursum.compiler.graph.graph import Node, Ref, map_refs, refs_of
from sursum.compiler.native.ir.affine import numel
from sursum.compiler.native.lower.context import Lowering, Map
from sursum.compiler.native.machine import FOLDED_NUMBERS


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
    if sum(numel(out.size) for out in node.outputs if out is not None) > FOLDED_NUMBERS:
        return False
    with torch.no_grad():
        results = node.op(*map_refs(node.args, known.__getitem__), **map_refs(node.kwargs, known.__getitem__))
    for out, result in zip(node.outputs, results if isinstance(results, (tuple, list)) else (results,), strict=True):
        assert out is not None
        low.name_constant(out, result)
    return True


def _tensor(low: Lowering, ref: Ref) -> Tensor | None:
    """The tensor of data or of one number, in the graph's dtype."""
    known = low.known(ref)
    if known is not None:
        return known.to(ref.dtype)
    found = low.definitions.get(low.alias.get(ref.value, ref.value))
    if isinstance(found, Map) and found.loop.expr.op == "const":
        return torch.full(ref.size, found.loop.expr.data, dtype=ref.dtype)
    return None
