"""Ratios of gamma functions that keep their digits where the arguments are large."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_LARGE = 16.0
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def log_rising(a: Tensor, n: Tensor) -> Tensor:
    r""":math:`\log \Gamma(a + n) - \log \Gamma(a)` for a > 0 and n ≥ 0; for a ≥ 16 by Stirling's series.

    The two terms are of the size of a log a, and their difference of that of n log a.

    References:
        DLMF 5.11.1.

    Example:
        >>> float(log_rising(torch.tensor(1e12, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)).exp().round())
        1000000000000.0
    """
    large = a >= _LARGE
    wide, narrow = torch.where(large, a, _LARGE), torch.where(large, 1.0, a)
    far = (wide - 0.5) * torch.log1p(n / wide) + n * torch.log(wide + n) - n + _rest(wide + n) - _rest(wide)
    return torch.where(large, far, torch.lgamma(narrow + n) - torch.lgamma(narrow))


def log_choose(n: Tensor, k: Tensor) -> Tensor:
    """The logarithm of the binomial coefficient."""
    return log_rising(n - k + 1, k) - torch.lgamma(k + 1)


def log_beta(a: Tensor, b: Tensor) -> Tensor:
    """The logarithm of the beta function."""
    small, large = torch.minimum(a, b), torch.maximum(a, b)
    return torch.lgamma(small) - log_rising(large, small)


def stirling_rest(z: Tensor) -> Tensor:
    r"""What Stirling's formula :math:`(z - \tfrac12) \log z - z + \tfrac12 \log 2 \pi` leaves of :math:`\log \Gamma(z)`, z > 0.

    Example:
        >>> stirling_rest(torch.tensor([1.0, 1e6]))
        tensor([8.1061e-02, 8.3333e-08])
    """
    large = z >= _LARGE
    near = torch.lgamma(z) - (z - 0.5) * torch.log(z) + z - 0.5 * math.log(2 * math.pi)
    return torch.where(large, _rest(torch.where(large, z, _LARGE)), near)


def _rest(z: Tensor) -> Tensor:
    """What Stirling's formula leaves of log Γ(z)."""
    square = z.square()
    total = torch.full_like(z, _STIRLING[-1])
    for term in reversed(_STIRLING[:-1]):
        total = term + total / square
    return total / z
