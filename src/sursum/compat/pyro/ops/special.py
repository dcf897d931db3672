"""Special functions."""

from __future__ import annotations

import torch
from torch import Tensor


def safe_log(x: Tensor) -> Tensor:
    """log x, whose gradient at 0 is finite."""
    return x.clamp(min=torch.finfo(x.dtype).tiny).log()


def log_beta(x: Tensor, y: Tensor, tol: float = 0.0) -> Tensor:
    """log B(x, y), exactly: `tol` has no use."""
    return torch.lgamma(x) + torch.lgamma(y) - torch.lgamma(x + y)


def log_binomial(n: Tensor, k: Tensor, tol: float = 0.0) -> Tensor:
    """The logarithm of the binomial coefficient, exactly: `tol` has no use."""
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


def log_I1(orders: int, value: Tensor, terms: int = 250) -> Tensor:  # noqa: N802
    """log I_k(value), the modified Bessel functions of the first kind, for k = 0, …, `orders`, along the first dimension."""
    order = torch.arange(orders + 1, dtype=value.dtype).reshape(-1, 1)
    k = torch.arange(terms, dtype=value.dtype).reshape(-1, 1, 1)
    flat = value.reshape(1, -1)
    logs = (2 * k + order) * (flat / 2).log() - torch.lgamma(k + 1) - torch.lgamma(k + order + 1)
    found: Tensor = logs.logsumexp(0)
    return found.reshape(orders + 1, *value.shape)
