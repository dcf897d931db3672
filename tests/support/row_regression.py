"""A regression of 101 rows, and points at which to evaluate its density."""

from __future__ import annotations

import numpy as np
import torch

import sursum as su
import sursum.distributions as dist

RNG = torch.Generator().manual_seed(0)
X = torch.randn(101, 3, generator=RNG, dtype=torch.float64)
Y = X @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + torch.randn(101, generator=RNG, dtype=torch.float64)
PLACES = [np.array(q) for q in ([0.3, -0.2, 1.0, 0.1], [1.0, -2.0, 0.5, 0.0], [-1.0, 1.0, 2.0, -1.5])]


def regression(x, y):
    b = su.sample("b", dist.Normal(torch.zeros(3, dtype=torch.float64), 2.0).to_event(1))
    s = su.sample("s", dist.HalfNormal(1.0))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(x @ b, s), obs=y)
