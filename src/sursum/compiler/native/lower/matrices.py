"""Matrices, and batches of them, as windows on what lies there already."""

from __future__ import annotations

from collections.abc import Sequence

from sursum.compiler.graph.graph import Ref
from sursum.compiler.graph.windows import contiguous


def expand(ref: Ref, batch: tuple[int, ...]) -> Ref:
    """A (batch of a) matrix, broadcast to a batch, as a window."""
    lead = len(batch) - (len(ref.size) - 2)
    stride = [0] * lead + [0 if n == 1 else s for s, n in zip(ref.stride[:-2], ref.size[:-2], strict=True)]
    return Ref(ref.value, (*batch, *ref.size[-2:]), (*stride, *ref.stride[-2:]), ref.offset, ref.dtype)


def split_batch(ref: Ref, size: Sequence[int]) -> Ref:
    """The matrices of one batch dimension as those of several."""
    if len(ref.size) == len(size):
        return ref
    step = contiguous(size[:-2])
    stride = (*(s * ref.stride[0] for s in step), *ref.stride[-2:])
    return Ref(ref.value, tuple(size), stride, ref.offset, ref.dtype)
