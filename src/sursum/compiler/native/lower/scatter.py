"""Elements written, or added, at computed places."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Data, Loop
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.definitions import Made, Map
from sursum.compiler.native.lower.narrow import NARROW
from sursum.compiler.native.machine import SCATTER_COPIES


def scatter_at(
    low: Lowering, new: int, base: int | Expr, size: Sequence[int], place: Affine, expr: Expr,
    indices: Sequence[Expr], strides: Sequence[int], *, add: bool,
) -> None:  # fmt: skip
    """Gives the value `new` as `base` with expr written (or added) at place + Σ strides·indices, over `size`."""
    kind = low.program.data[new].kind
    expr = low.e.cast(expr, kind)
    first = _copy(low, new, base)
    mode = "add" if add else "put"
    known = low.graph.values.get(new)
    if add and known is not None and known.dtype in NARROW:
        low.fail(f"sums in {known.dtype}, which may wrap")
    if add and kind == "f" and _spread(low, new, first, size, place, expr, indices, strides):
        return
    if math.prod(size) == 0:
        low.definitions[new] = Made((first,))
        return
    loop = Loop(new, tuple(size), place, expr, mode, low.where, indices=tuple(indices), strides=tuple(strides))
    low.definitions[new] = Made((first, loop))


def _spread(
    low: Lowering, new: int, first: Loop, size: Sequence[int], place: Affine, expr: Expr,
    indices: Sequence[Expr], strides: Sequence[int],
) -> bool:  # fmt: skip
    """Adds in turn to several copies, which are added up: rows of one group then do not wait for each other."""
    count, rows = low.program.data[new].numel, math.prod(size)
    long = [d for d, n in enumerate(size) if n > 1]
    if len(long) != 1 or not indices or rows < 64 or rows < 2 * count:
        return False
    e, d, whole = low.e, long[0], rows - rows % SCATTER_COPIES
    copies = low.fresh()
    low.program.data[copies] = Data(SCATTER_COPIES * count, "f", (SCATTER_COPIES, count))
    flat = Affine(0, (1,))
    stages = [Loop(copies, (SCATTER_COPIES * count,), flat, e.const(0.0), "set", low.where)]
    for start, shape in (
        (0, (whole // SCATTER_COPIES, SCATTER_COPIES)),
        (whole, (1, rows % SCATTER_COPIES)),
    ):
        if shape[1] == 0:
            continue
        index = [Affine(start, (SCATTER_COPIES, 1)) if k == d else Affine(0, (0, 0)) for k in range(len(size))]
        at = place.through(index, 2)
        loop = Loop(copies, shape, Affine(at.offset, (at.coefs[0], at.coefs[1] + count)), e.reindex(expr, index, 2),
                    "add", low.where, indices=tuple(e.reindex(x, index, 2) for x in indices),
                    strides=tuple(strides))  # fmt: skip
        stages.append(loop)
    low.definitions[copies] = Made(tuple(stages))
    parts = [e.load(copies, Affine(k * count, (1,)), "f") for k in range(SCATTER_COPIES)]
    total = parts[0]
    for part in parts[1:]:
        total = e.add(total, part)
    if not (first.expr.op == "const" and first.expr.data == 0):
        total = e.add(first.expr, total)
    low.definitions[new] = Map(Loop(new, (count,), flat, total, "set", low.where))
    return True


def _copy(low: Lowering, new: int, base: int | Expr) -> Loop:
    n, kind = low.program.data[new].numel, low.program.data[new].kind
    flat = Affine(0, (1,))
    expr = low.e.cast(base, kind) if isinstance(base, Expr) else low.read(base, flat, (n,), kind)
    return Loop(new, (n,), flat, expr, "set", low.where)
