"""Decompositions of operators without a lowering: torch's, and ours where torch has none.

The recorder runs them instead of the operator, and so records operators that the native engine supports. A computed index
is used by an operator that treats negative ones like the decomposed one: it gets its guard there (`with_checked_indices`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sursum.common.torch_private import COMPOSITE, OpOverload, decomposition_table, without_dispatch_modes
from sursum.compiler.capture.operators import results_of
from sursum.compiler.native.lower import has_lowering

aten = torch.ops.aten

#: How near torch's decompositions come to the operator, of its largest element: what is farther off is not rounding.
_CLOSE = 1e-11

#: A function from the arguments of an operator to its results.
Decomposition = Callable[..., Any]


def decomposition(op: OpOverload) -> Decomposition | None:
    """The decomposition of `op`; None if it has a lowering, returns a view of its argument, or has no known decomposition.

    Example:
        >>> decomposition(aten.exp.default) is None, decomposition(aten.index_copy.default) is None
        (True, False)
    """
    if has_lowering(op):
        return None
    if op.has_kernel_for_dispatch_key(COMPOSITE):
        whole: Decomposition = op.decompose
        return whole
    if op.namespace == "prims":
        return None if _is_window(op) else getattr(op, "impl_aten", None)
    if op._schema.is_mutable:
        return _in_place(op)
    if _is_window(op):
        return None
    torchs = decomposition_table.get(op)
    return _OURS.get(op) or (None if torchs is None else _verify(op, torchs))


def _is_window(op: OpOverload) -> bool:
    return any(result.alias_info is not None for result in op._schema.returns)


def _verify(op: OpOverload, parts: Decomposition) -> Decomposition:
    """A decomposition that fails where its result differs from the operator's: some of torch's are not faithful."""

    def run(*args: Any, **kwargs: Any) -> Any:
        found = parts(*args, **kwargs)
        with without_dispatch_modes():
            for mine, its in zip(results_of(found), results_of(op(*args, **kwargs)), strict=True):
                if isinstance(its, Tensor):
                    size = float(its.double().abs().nan_to_num(0.0, 0.0, 0.0).max()) if its.numel() else 0.0
                    torch.testing.assert_close(mine, its, rtol=0.0, atol=_CLOSE * size, equal_nan=True)
        return found

    return run


def _in_place(op: OpOverload) -> Decomposition | None:
    """An in-place operator as the out-of-place one followed by a copy."""
    name = op._schema.name.removeprefix("aten::")
    packet = getattr(aten, name[:-1], None) if name.endswith("_") else None
    plain = getattr(packet, op._overloadname, None)
    made = None if plain is None else decomposition(plain)
    return None if made is None else lambda self, *args, **kwargs: self.copy_(made(self, *args, **kwargs))


# Masks ----------------------------------------------------------------------------------------------------------------


def _masked_scatter(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The elements of a source, in order, where a mask holds."""
    mask, self = torch.broadcast_tensors(mask, self)
    if source.numel() == 0:
        return self.clone()
    return torch.where(mask, source.reshape(-1).gather(0, _order(mask)).reshape(self.shape), self)


def _masked_scatter_backward(grad_output: Tensor, mask: Tensor, sizes: Sequence[int]) -> Tensor:
    mask = mask.expand(grad_output.shape)
    count = torch.Size(sizes).numel()
    if count == 0:
        return grad_output.new_zeros(sizes)
    slope = torch.where(mask, grad_output, 0.0).reshape(-1)
    return grad_output.new_zeros(count).scatter_add(0, _order(mask), slope).reshape(sizes)


def _order(mask: Tensor) -> Tensor:
    """For each element where a mask holds, the number of such elements before it; elsewhere 0."""
    flat = mask.reshape(-1)
    return torch.where(flat, flat.cumsum(0) - 1, 0)


# Indices --------------------------------------------------------------------------------------------------------------


def _spread(index: Tensor, dim: int, size: Sequence[int]) -> Tensor:
    """An index along one dimension for every element of a tensor of this size."""
    if not size:
        return index.reshape(())
    shape = [1] * len(size)
    shape[dim] = -1
    return index.reshape(shape).expand(size)


def _index_copy(self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    if not self.dim():
        return self.reshape(1).scatter(0, index.reshape(1), source.reshape(1)).reshape(())
    return self.scatter(dim, _spread(index, dim, source.shape), source)


def _index_fill(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    value = value.to(self.dtype) if isinstance(value, Tensor) else self.new_full((), value)
    if not self.dim():
        return self.reshape(1).index_put((index.reshape(-1),), value).reshape(())
    turned = self.transpose(0, dim).index_put((index.reshape(-1),), value)
    return turned.transpose(0, dim)


def _index_reduce(
    self: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:  # fmt: skip
    return self.scatter_reduce(dim, _spread(index, dim, source.shape), source, reduce, include_self=include_self)


def _put(self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    changed = self.reshape(-1).index_put((index.reshape(-1),), source.reshape(-1), accumulate)
    return changed.reshape(self.shape)


def _take(self: Tensor, index: Tensor) -> Tensor:
    return self.reshape(-1)[index]


def _places_backward(rank: int) -> Decomposition:
    """The gradient of max-pooling over the last `rank` dimensions: scattered to the maxima, whose indices come last."""

    def backward(grad_output: Tensor, self: Tensor, *rest: Any) -> Tensor:
        lead = self.shape[: self.dim() - rank]
        flat = self.new_zeros(*lead, self.shape[self.dim() - rank :].numel())
        places, slopes = (t.reshape(*lead, -1) for t in (rest[-1], grad_output))
        return flat.scatter_add(-1, places, slopes).reshape(self.shape)

    return backward


def _padding_backward(*, reflects: bool) -> Decomposition:
    """The gradient of padding by copies: added where the copies come from."""

    def backward(grad_output: Tensor, self: Tensor, padding: Sequence[int]) -> Tensor:
        for k in range(len(padding) // 2):
            dim, (before, after) = self.dim() - 1 - k, padding[2 * k : 2 * k + 2]
            last = self.shape[dim] - 1
            place = torch.arange(-before, last + 1 + after)
            place = last - (last - place.abs()).abs() if reflects else place.clamp(0, last)
            shape = list(grad_output.shape)
            shape[dim] = last + 1
            grad_output = grad_output.new_zeros(shape).index_add(dim, place, grad_output)
        return grad_output

    return backward


# Distances and products -----------------------------------------------------------------------------------------------


def _distance(away: Tensor, p: float) -> Tensor:
    """The p-norm of the last dimension."""
    norm: Tensor = torch.linalg.vector_norm(away, p, dim=-1)
    return norm


def _distance_slope(slope: Tensor, away: Tensor, distance: Tensor, p: float) -> Tensor:
    """Its gradient as in torch: 0 where the distance is 0."""
    slope, distance = slope[..., None], distance[..., None]
    size = away.abs()
    if p == 0:
        return torch.zeros_like(away)
    if p == 1:
        return slope * away.sign()
    if p == torch.inf:
        return slope * away.sign() * (size == distance)
    if p < 2:
        there = away.sign() * size ** (p - 1)
        if p < 1:
            there = torch.where(away == 0, 0.0, there)
    else:
        there = away if p == 2 else away * size ** (p - 2)
    return torch.where(distance == 0, 0.0, slope * there / distance ** (p - 1))


def _cdist(x1: Tensor, x2: Tensor, p: float, compute_mode: int | None) -> Tensor:
    return _distance(x1[..., :, None, :] - x2[..., None, :, :], p)


def _cdist_backward(grad: Tensor, x1: Tensor, x2: Tensor, p: float, cdist: Tensor) -> Tensor:
    return _distance_slope(grad, x1[..., :, None, :] - x2[..., None, :, :], cdist, p).sum(-2)


def _pdist(self: Tensor, p: float = 2.0) -> Tensor:
    one, other = torch.triu_indices(len(self), len(self), 1)
    return _distance(self[one] - self[other], p)


def _pdist_backward(grad: Tensor, self: Tensor, p: float, pdist: Tensor) -> Tensor:
    one, other = torch.triu_indices(len(self), len(self), 1)
    slope = _distance_slope(grad, self[one] - self[other], pdist, p)
    return torch.zeros_like(self).index_add(0, one, slope).index_add(0, other, -slope)


def _trilinear(
    i1: Tensor, i2: Tensor, i3: Tensor, expand1: Sequence[int], expand2: Sequence[int], expand3: Sequence[int],
    sumdim: Sequence[int], unroll_dim: int = 1,
) -> Tensor:  # fmt: skip
    """The sum over dimensions of the product of three."""
    product = _expand(i1, expand1) * _expand(i2, expand2) * _expand(i3, expand3)
    return product.sum(tuple(sumdim)) if sumdim else product


def _expand(x: Tensor, dims: Sequence[int]) -> Tensor:
    for dim in sorted(dims):
        x = x.unsqueeze(dim)
    return x


# Bags of embeddings ---------------------------------------------------------------------------------------------------

_SUM, _MEAN, _MAX = 0, 1, 2


def _embedding_bag(
    weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = _SUM,
    sparse: bool = False, per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: int = -1,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Sums, means or largest elements of rows of a matrix; of each index its bag, of each bag its size, and the rows from which
    the largest elements come, −1 for none."""
    count, width = offsets.numel() - include_last_offset, weight.shape[1]
    bag = torch.searchsorted(offsets[:count], torch.arange(indices.numel(), dtype=offsets.dtype), right=True) - 1
    kept = _is_kept(indices, padding_idx)
    sizes = indices.new_zeros(count).scatter_add(0, bag, kept.to(indices.dtype))
    rows = weight.index_select(0, indices)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[:, None]
    if mode != _MAX:
        total = weight.new_zeros(count, width).index_add(0, bag, torch.where(kept[:, None], rows, 0.0))
        mean = total / sizes.clamp(min=1).to(total.dtype)[:, None]
        return mean if mode == _MEAN else total, bag, sizes, indices.new_zeros(0)
    wide = bag[:, None].expand(rows.shape)
    rows = torch.where(kept[:, None], rows, -torch.inf)
    best = weight.new_full((count, width), -torch.inf).scatter_reduce(0, wide, rows, "amax")
    place = torch.arange(indices.numel(), dtype=rows.dtype)[:, None]
    last = indices.numel()
    mine = torch.where((rows == best.index_select(0, bag)) & kept[:, None], place, last)
    first = weight.new_full((count, width), last).scatter_reduce(0, wide, mine, "amin")
    row = torch.cat([indices, indices.new_full((1,), -1)])[first.clamp(0, last).to(torch.int64)]
    return torch.where(row < 0, 0.0, best), bag, sizes, row


def _embedding_bag_backward(
    grad: Tensor, indices: Tensor, offsets: Tensor, offset2bag: Tensor, bag_size: Tensor, maximum_indices: Tensor,
    num_weights: int, scale_grad_by_freq: bool, mode: int, sparse: bool, per_sample_weights: Tensor | None,
    padding_idx: int = -1,
) -> Tensor:  # fmt: skip
    """The derivative by the matrix: rows are not divided by how often they are used."""
    zeros = grad.new_zeros(num_weights, grad.shape[1])
    if mode == _MAX:
        return zeros.scatter_add(0, maximum_indices.clamp(min=0), torch.where(maximum_indices < 0, 0.0, grad))
    if mode == _MEAN:
        grad = grad / bag_size.clamp(min=1).to(grad.dtype)[:, None]
    rows = grad.index_select(0, offset2bag)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[:, None]
    return zeros.index_add(0, indices, torch.where(_is_kept(indices, padding_idx)[:, None], rows, 0.0))


def _embedding_bag_weights_backward(
    grad: Tensor, weight: Tensor, indices: Tensor, offsets: Tensor, offset2bag: Tensor, mode: int, padding_idx: int = -1
) -> Tensor:
    slope = (grad.index_select(0, offset2bag) * weight.index_select(0, indices)).sum(1)
    return torch.where(_is_kept(indices, padding_idx), slope, 0.0)


def _is_kept(indices: Tensor, padding: int) -> Tensor:
    """Which indices differ from the padding index."""
    return indices != padding


_OURS: Mapping[OpOverload, Decomposition] = {
    aten.masked_scatter.default: _masked_scatter,
    aten.masked_scatter_backward.default: _masked_scatter_backward,
    aten.index_copy.default: _index_copy,
    aten.index_fill.int_Scalar: _index_fill,
    aten.index_fill.int_Tensor: _index_fill,
    aten.index_reduce.default: _index_reduce,
    aten.put.default: _put,
    aten.take.default: _take,
    aten.max_pool3d_with_indices_backward.default: _places_backward(3),
    aten.adaptive_max_pool2d_backward.default: _places_backward(2),
    aten.adaptive_max_pool3d_backward.default: _places_backward(3),
    **{op.default: _padding_backward(reflects=True) for op in (
        aten.reflection_pad1d_backward, aten.reflection_pad2d_backward, aten.reflection_pad3d_backward,
    )},
    **{op.default: _padding_backward(reflects=False) for op in (
        aten.replication_pad1d_backward, aten.replication_pad2d_backward, aten.replication_pad3d_backward,
    )},
    aten._cdist_forward.default: _cdist,
    aten._cdist_backward.default: _cdist_backward,
    aten._pdist_forward.default: _pdist,
    aten._pdist_backward.default: _pdist_backward,
    aten._trilinear.default: _trilinear,
    aten._embedding_bag.default: _embedding_bag,
    aten._embedding_bag_forward_only.default: _embedding_bag,
    aten._embedding_bag_backward.default: _embedding_bag_backward,
    aten._embedding_bag_per_sample_weights_backward.default: _embedding_bag_weights_backward,
}  # fmt: skip
