"""Masked elements: they affect neither the log density nor its gradient, not even if they are NaN."""

from __future__ import annotations

import torch
from torch import Tensor

from sursum.distributions.shapes import broadcast_shapes


def stand_in(value: Tensor, mask: Tensor, events: int) -> Tensor:
    """`value`, and wherever `mask` is False the first value where it is True.

    A NaN under a mask would reach the gradient in spite of it, as 0 · NaN; an index such as −1 would be read. What is
    present lies in the support of its distribution, so a copy of it does as well.

    Args:
        value: batch shape and then `events` event dimensions.
        mask: boolean, broadcasts with the batch shape.
        events: how many rightmost dimensions make up one value.

    Returns:
        A tensor of the joint batch shape. Where nothing is present it holds ones, or zeros if it holds integers.

    Example:
        >>> import torch
        >>> stand_in(torch.tensor([torch.nan, 2.0, 3.0]), torch.tensor([False, True, True]), 0)
        tensor([2., 2., 3.])
    """
    split = value.dim() - events
    batch, event = broadcast_shapes(mask.shape, value.shape[:split]), value.shape[split:]
    mask = mask.to(value.device).expand(batch)
    if not mask.numel():
        return value
    wide = value.expand(batch + event)
    # In tensors' words alone, and without a look at the mask: in a scan it is different in every step.
    first = wide.reshape(-1, *event).index_select(0, mask.flatten().int().argmax().reshape(1)).reshape(event)
    other = torch.where(mask.any(), first, torch.full_like(first, float(first.is_floating_point())))
    return torch.where(mask.reshape(batch + (1,) * events), wide, other)


def mask_term(term: Tensor, mask: Tensor) -> Tensor:
    """`term` where `mask` is True, and 0 elsewhere.

    Example:
        >>> import torch
        >>> mask_term(torch.tensor(-1.0), torch.tensor([True, False]))
        tensor([-1.,  0.])
    """
    return torch.where(mask.to(term.device), term, torch.zeros((), dtype=term.dtype, device=term.device))
