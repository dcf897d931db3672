"""Record indexing by a mask as indexing by integers, so that the shapes of a graph do not depend on data."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

import torch
from torch import Tensor

from sursum.common.torch_private import OpOverload
from sursum.compiler.graph.graph import Ref, Value

aten = torch.ops.aten

_FILLS = {
    aten.index_put_.default: aten.masked_fill_.Tensor,
    aten._index_put_impl_.default: aten.masked_fill_.Tensor,
    aten.index_put.default: aten.masked_fill.Tensor,
}


def is_mask(item: object) -> bool:
    """Whether an index is a boolean mask.

    >>> is_mask(torch.tensor([True])), is_mask(torch.tensor([0])), is_mask(None)
    (True, False, False)
    """
    return isinstance(item, Tensor) and item.dtype in (torch.bool, torch.uint8)


def remove(
    op: OpOverload,
    args: Sequence[Any],
    node_args: tuple[Any, ...],
    traced: Container[int],
    constant: Callable[[Tensor], Value],
) -> tuple[OpOverload, tuple[Any, ...], bool]:
    """An operator of the `index` family without masks.

    A mask that does not depend on q becomes the indices of its true elements. A traced mask can only stay if a
    single number is assigned under it: `x[mask] = c` is `masked_fill`.

    Returns:
        The operator, its arguments, and whether its shape still depends on q.
    """
    indices = args[1]
    found = [position for position, item in enumerate(indices) if is_mask(item)]
    if not found:
        return op, node_args, False
    refs = node_args[1]
    if not any(refs[position].value in traced for position in found):
        numbered: list[Any] = []
        for item, ref in zip(indices, refs, strict=True):
            if is_mask(item):
                numbered += [_constant_ref(part.contiguous(), constant) for part in item.nonzero(as_tuple=True)]
            else:
                numbered.append(ref)
        return op, (node_args[0], numbered, *node_args[2:]), False
    fill = _FILLS.get(op)
    accumulates = len(args) > 3 and bool(args[3])
    if fill is None or accumulates or len(indices) != 1 or args[2].numel() != 1:
        return op, node_args, True
    mask, number = refs[0], node_args[2]
    missing = args[0].dim() - len(mask.size)
    mask = Ref(mask.value, mask.size + (1,) * missing, mask.stride + (0,) * missing, mask.offset, mask.dtype)
    number = Ref(number.value, (), (), number.offset, number.dtype)
    return fill, (node_args[0], mask, number), False


def _constant_ref(tensor: Tensor, constant: Callable[[Tensor], Value]) -> Ref:
    return Ref(constant(tensor).id, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()), tensor.dtype)
