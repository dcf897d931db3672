"""Functions of tensors for time series."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def periodic_repeat(tensor: Tensor, size: int, dim: int) -> Tensor:
    """`tensor`, repeated along a dimension up to `size`.

    Example:
        >>> periodic_repeat(torch.arange(3), 5, 0)
        tensor([0, 1, 2, 0, 1])
    """
    return tensor.index_select(dim, torch.arange(size) % tensor.shape[dim])


def periodic_cumsum(tensor: Tensor, period: int, dim: int) -> Tensor:
    """Cumulated sums along a dimension, of each phase of a period.

    Example:
        >>> periodic_cumsum(torch.ones(5), 2, 0)
        tensor([1., 1., 2., 2., 3.])
    """
    dim = dim % tensor.dim()
    size = tensor.shape[dim]
    rounds = -(-size // period)
    padding = tensor.new_zeros(*tensor.shape[:dim], rounds * period - size, *tensor.shape[dim + 1 :])
    whole = torch.cat([tensor, padding], dim).unflatten(dim, (rounds, period))
    summed: Tensor = whole.cumsum(dim).flatten(dim, dim + 1).narrow(dim, 0, size)
    return summed


def periodic_features(
    duration: int, max_period: float | None = None, min_period: float | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Cosines and sines of the frequencies between two periods, (duration, 2 · number)."""
    longest = duration if max_period is None else max_period
    shortest = 2 if min_period is None else min_period
    time = torch.arange(float(duration), dtype=dtype).unsqueeze(-1)
    phase = torch.tensor([0.0, math.pi / 2], dtype=dtype).unsqueeze(-1)
    count = torch.arange(1.0, longest / shortest, dtype=dtype)
    angle = time.unsqueeze(-1) * (2 * math.pi / longest) * count - phase
    return angle.cos().reshape(duration, -1)


def block_diag_embed(mat: Tensor) -> Tensor:
    """Matrices (…, b, m, n) as the blocks of one on the diagonal, (…, b · m, b · n)."""
    count, rows, columns = mat.shape[-3:]
    wide = mat.unsqueeze(-2) * torch.eye(count, dtype=mat.dtype).reshape(count, 1, count, 1)
    return wide.reshape(*mat.shape[:-3], count * rows, count * columns)


def safe_cholesky(x: Tensor) -> Tensor:
    """The Cholesky factor."""
    factor: Tensor = torch.linalg.cholesky(x)
    return factor


def safe_normalize(x: Tensor, *, p: float = 2.0) -> Tensor:
    """Vectors divided by their norms; a zero vector becomes the first unit vector."""
    norm = x.norm(p, -1, keepdim=True)
    unit = torch.zeros_like(x)
    unit[..., 0] = 1.0
    return torch.where(norm > 0, x / norm.clamp(min=torch.finfo(x.dtype).tiny), unit)
