r"""Triangles that are kept row by row: the n(n − 1)/2 elements of a matrix below its diagonal, as guides train them.

The program puts them into a square of zeros, multiplies a vector by that, and backwards picks its gradient out of an outer
product. Done on the elements themselves this takes half of the arithmetic, and neither square is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sursum.compiler.graph.graph import Ref
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Loop
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.definitions import Map, kind_of
from sursum.compiler.native.machine import TRIANGLE_ROWS


def is_below(low: Lowering, indices: Sequence[Ref | None], count: int) -> int | None:
    """n, if these indices into a vector of n² elements are the places below the diagonal, row by row; None if not."""
    n = round(count**0.5)
    where = indices[0]
    if len(indices) != 1 or where is None or n < TRIANGLE_ROWS or n * n != count or where.size != (n * (n - 1) // 2,):
        return None
    known = low.known(where)
    if known is None or known.dtype == torch.bool:
        return None
    rows, columns = torch.tril_indices(n, n, -1)
    return n if torch.equal(known, rows * n + columns) else None


def remember(low: Lowering, square: Ref, zeros: Ref, indices: Sequence[Ref | None], elements: Ref) -> None:
    """Note that `square`, n² elements in a row, is a triangle put into zeros, if it is."""
    if square.size == zeros.size == (square.size[0],) and low.load(zeros) is low.e.const(0.0):
        n = is_below(low, indices, square.size[0])
        if n is not None and elements.size == (n * (n - 1) // 2,):
            low.triangles[square.value] = elements


def times(low: Lowering, a: Ref, b: Ref, out: Ref) -> bool:
    """out = a·b, if a is such a triangle and b a vector or a column. Whether it was."""
    elements, n = low.triangles.get(a.value), a.size[-1]
    whole = a.size == (n, n) and a.stride == (n, 1) and not a.offset
    if elements is None or not whole or elements.size != (n * (n - 1) // 2,):
        return False
    if b.size not in ((n,), (n, 1)) or kind_of(out.dtype) != "f":
        return False
    vector = Ref(b.value, (n,), b.stride[:1], b.offset, b.dtype)
    made = low.new((n,))
    low.call(made, "su_triangle_times", n, low.dense(elements), low.dense(vector), made)
    low.define(out, low.load(made if len(out.size) == 1 else Ref(made.value, (n, 1), (1, 1), 0, made.dtype)))
    return True


def pick_triangle(low: Lowering, x: Ref, indices: Sequence[Ref | None], out: Ref) -> bool:
    """out = x[indices], if that is what lies below the diagonal of an outer product. Whether it was."""
    if x.stride != (1,) or x.offset or (n := is_below(low, indices, x.size[0])) is None:
        return False
    found = low.definitions.get(low.alias.get(x.value, x.value))
    factors = _outer(low, found.loop, n) if isinstance(found, Map) else None
    if factors is None:
        return False
    row, column = (low.temporary((n,), factor) for factor in factors)
    made = low.new(out.size)
    low.call(made, "su_triangle_outer", n, low.dense(low.resolve(row)), low.dense(low.resolve(column)), made)
    low.define(out, low.load(made))
    return True


def _outer(low: Lowering, loop: Loop, n: int) -> tuple[Expr, Expr] | None:
    """What an n × n matrix is the outer product of, each as an expression over n, rows first."""
    long = [d for d, size in enumerate(loop.shape) if size > 1]
    if loop.store.offset or [(loop.shape[d], loop.store.coefs[d]) for d in long] != [(n, n), (n, 1)]:
        return None
    if loop.expr.op != "mul" or any(part.op != "load" or part.args or part.kind != "f" for part in loop.expr.args):
        return None
    found: dict[int, Expr] = {}
    for part in loop.expr.args:
        value, access, _ = part.data
        moving = [d for d in long if access.coefs[d]]
        if len(moving) == 1:
            found[moving[0]] = low.e.load(value, Affine(access.offset, (access.coefs[moving[0]],)), part.kind)
    return (found[long[0]], found[long[1]]) if len(found) == 2 else None
