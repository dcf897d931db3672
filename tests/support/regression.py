"""A linear regression with its Gaussian posterior in closed form."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist


def program(x: Tensor, y: Tensor) -> None:
    """w ~ N(0, 2²) for three correlated columns, y ~ N(x·w, ½²)."""
    w = su.sample("w", dist.Normal(torch.zeros(3, dtype=torch.float64), 2.0).to_event(1))
    with su.plate("row", len(y)):
        su.sample("y", dist.Normal(x @ w, 0.5), obs=y)


def problem() -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
    """Data of 20 rows, and the mean and covariance of the posterior of w."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3)) @ np.array([[1.0, 0.9, 0.0], [0.0, 0.4, 0.0], [0.0, 0.0, 3.0]])
    y = x @ [1.0, -1.0, 0.5] + 0.5 * rng.normal(size=20)
    covariance = np.linalg.inv(x.T @ x / 0.25 + np.eye(3) / 4.0)
    return torch.from_numpy(x), torch.from_numpy(y), covariance @ x.T @ y / 0.25, covariance
