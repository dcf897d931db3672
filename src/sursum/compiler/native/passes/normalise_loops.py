"""Loop nests in one form: no dimensions of size 1, the innermost contiguous, neighbours merged where they can be."""

from __future__ import annotations

from collections.abc import Sequence

from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Exprs
from sursum.compiler.native.ir.program import Loop, LoopProgram
from sursum.compiler.native.machine import SHORT_LOOP, STRIDED_LOOP, WHOLE_LOOP
from sursum.compiler.native.ops import is_plain


def normalise_loops(program: LoopProgram) -> LoopProgram:
    """Brings every loop into that form."""
    for stage in program.stages:
        if isinstance(stage, Loop):
            normalise(stage, program.exprs)
    return program


def normalise(loop: Loop, e: Exprs) -> None:
    """Brings a loop into that form, in place."""
    _permute(loop, _order(loop), e)
    _merge(loop, e)
    vector = _whole_vectors(loop)
    if vector is not None:
        _permute(loop, [d for d in range(len(loop.shape)) if d != vector] + [vector], e)


def _permute(loop: Loop, order: Sequence[int], e: Exprs) -> None:
    if list(order) != list(range(len(loop.shape))):
        _apply(loop, [loop.shape[d] for d in order], _permutation(order, len(loop.shape)), e, order)


def _whole_vectors(loop: Loop) -> int | None:
    """The longest dimension, where the innermost has but a few elements and a function is called for each of them.

    Functions cost most by far, and a few at a time are computed one by one.
    """
    if len(loop.shape) < 2 or loop.shape[-1] >= SHORT_LOOP or loop.indices:
        return None
    longest = max(range(len(loop.shape)), key=lambda d: loop.shape[d])
    if loop.shape[longest] < STRIDED_LOOP or all(is_plain(x.op) for x in loop.expr.walk()):
        return None
    return longest


def _order(loop: Loop) -> list[int]:
    """The dimensions that iterate, from outermost to innermost."""
    dims = [d for d, n in enumerate(loop.shape) if n != 1]
    if len(dims) < 2:
        return dims
    if not loop.reduced and not loop.indices:
        return sorted(dims, key=lambda d: -loop.store.coefs[d])
    if not loop.reduced:
        return dims
    loads = [a for expr in loop.exprs() for a in expr.affines()]
    # Of what varies less often a vector has one number, or the whole loop has.
    loads = [a for a in loads if all(a.coefs[d] for d in dims)] or loads

    def fitness(d: int) -> float:
        steps = [a.coefs[d] for a in loads] + ([] if d in loop.reduced else [loop.store.coefs[d]])
        score = sum(2.0 if abs(s) == 1 else 1.0 if s == 0 else -3.0 for s in steps) / max(len(steps), 1)
        return score + (0.2 if d == dims[-1] else 0.0) - (2.0 if loop.shape[d] < 4 else 0.0)

    inner = max(dims, key=fitness)
    return [d for d in dims if d != inner] + [inner]


def _permutation(order: Sequence[int], ndim: int) -> list[Affine]:
    index = [Affine(0, (0,) * len(order)) for _ in range(ndim)]
    for place, d in enumerate(order):
        index[d] = Affine(0, tuple(int(k == place) for k in range(len(order))))
    return index


def _apply(loop: Loop, shape: Sequence[int], index: Sequence[Affine], e: Exprs, order: Sequence[int]) -> None:
    ndim = len(shape)
    loop.expr = e.reindex(loop.expr, index, ndim)
    loop.indices = tuple(e.reindex(x, index, ndim) for x in loop.indices)
    loop.store = loop.store.through(index, ndim)
    loop.reduced = frozenset(place for place, d in enumerate(order) if d in loop.reduced)
    loop.shape = tuple(shape)


def _merge(loop: Loop, e: Exprs) -> None:
    """Two neighbouring dimensions that every index walks through as if they were one become one, unless the inner one is long:
    then that gains nothing, and a nest stays one with others over the same range."""
    d = 0
    while d + 1 < len(loop.shape):
        affines = [loop.store, *(a for expr in loop.exprs() for a in expr.affines())]
        inner = loop.shape[d + 1]
        same_role = (d in loop.reduced) == (d + 1 in loop.reduced)
        if inner >= WHOLE_LOOP or not same_role or any(a.coefs[d] != a.coefs[d + 1] * inner for a in affines):
            d += 1
            continue
        ndim = len(loop.shape)
        # Only the coefficient of the inner one is kept: the outer index is 0 in the merged nest.
        index = []
        for k in range(ndim):
            place = k if k <= d else k - 1
            index.append(Affine(0, tuple(int(j == place and k != d) for j in range(ndim - 1))))
        reduced = loop.reduced
        shape = (*loop.shape[:d], loop.shape[d] * inner, *loop.shape[d + 2 :])
        _apply(loop, shape, index, e, range(ndim - 1))
        loop.reduced = frozenset({k if k <= d else k - 1 for k in reduced})
