"""The logarithm of a Bessel function without its exponential growth."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_FAR = 40.0


def log_i0e(x: Tensor) -> Tensor:
    r""":math:`\log e^{-x} I_0(x)` for x ≥ 0; from 40 on by its asymptotic series, whose derivative has its digits there too.

    References:
        DLMF 10.40.1.

    Example:
        >>> log_i0e(torch.tensor([1.0, 1e30]))
        tensor([ -0.7641, -35.4577])
    """
    far = x > _FAR
    near, wide = torch.where(far, 1.0, x), torch.where(far, x, _FAR)
    series = torch.zeros_like(x)
    for k in range(12, 0, -1):
        series = (2 * k - 1) ** 2 / (8 * k) / wide * (1 + series)
    asymptotic = torch.log1p(series) - torch.log(wide) / 2 - 0.5 * math.log(2 * math.pi)
    return torch.where(far, asymptotic, torch.log(torch.special.i0e(near)))
