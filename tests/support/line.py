"""A line that is lifted, and posteriors of it that are written by hand."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.core.calling import Program
from sursum.distributions import constraints

X = torch.linspace(-1.0, 1.0, 6)


def line(x: Tensor, y: Tensor | None = None) -> None:
    slope = su.param("slope", torch.tensor(0.5))
    sigma = su.param("sigma", torch.tensor(1.0), constraint=constraints.positive)
    with su.plate("data", len(x)):
        mean = su.deterministic("mean", slope * x)
        su.sample("y", dist.Normal(mean, sigma), obs=y)


LIFTED = su.lift(line, {"slope": dist.Normal(0.0, 1.0), "sigma": dist.HalfNormal(1.0)})


def by_hand(**sites: Tensor) -> su.Posterior:
    """A posterior of `LIFTED` with these draws."""
    any_site = next(iter(sites.values()))
    program = Program(LIFTED, (X, torch.zeros(len(X))))
    return su.Posterior(sites, {}, np.zeros((*any_site.shape[:2], 2)), latents=tuple(sites), program=program)
