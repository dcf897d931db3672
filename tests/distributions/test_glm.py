"""Regressions as distributions compile to the C of those that are written out."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist

D = torch.float64
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(40, 3, dtype=D, generator=GENERATOR)
COUNTS = torch.randint(0, 3, (40,), generator=GENERATOR)
CUTS = torch.tensor([-1.0, 1.0], dtype=D)

Make = Callable[[Tensor, Tensor, Tensor], dist.Distribution]

#: With the intercept a, the coefficients b and a positive number s: as a regression, and written out; and the data.
REGRESSIONS: dict[str, tuple[Make, Make, Tensor]] = {
    "normal": (lambda a, b, s: dist.NormalGLM(X, a, b, s), lambda a, b, s: dist.Normal(X @ b + a, s), X[:, 0]),
    "logit": (
        lambda a, b, s: dist.BernoulliLogitGLM(X, a, b / s),
        lambda a, b, s: dist.Bernoulli(logits=X @ (b / s) + a),
        (COUNTS > 1).to(D),
    ),
    "log": (
        lambda a, b, s: dist.PoissonLogGLM(X, a, b / s),
        lambda a, b, s: dist.Poisson((X @ (b / s) + a).exp()),
        COUNTS.to(D),
    ),
    "ordered": (
        lambda a, b, s: dist.OrderedLogisticGLM(X, b, CUTS * s + a),
        lambda a, b, s: dist.OrderedLogistic(cutpoints=CUTS * s + a, predictor=X @ b),
        COUNTS,
    ),
}


def source(make: Make, y: Tensor) -> tuple[str, float]:
    """The C of a program without its comments, which name lines, and the numbers of constants; and its value at a point."""

    def regression() -> None:
        zero = torch.zeros((), dtype=D)
        a, s = su.sample("a", dist.Normal(zero, 1.0)), su.sample("s", dist.HalfNormal(zero + 1.0))
        b = su.sample("b", dist.Normal(torch.zeros(3, dtype=D), 1.0).to_event(1))
        with su.plate("data", 40):
            su.sample("y", make(a, b, s), obs=y)

    density = su.compile(regression)
    assert density.source is not None
    value = density.value_and_grad([0.3, -0.2, 0.5, -0.1, 0.4])[0]
    return re.sub(r"/\*.*?\*/|(?<=\bc)\d+|(?<=constants\[)\d+", "", density.source, flags=re.DOTALL), value


@pytest.mark.parametrize("name", REGRESSIONS)
def test_it_is_the_regression_written_out(name: str) -> None:
    fused, written, y = REGRESSIONS[name]
    assert source(fused, y) == source(written, y)
