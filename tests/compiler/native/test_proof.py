"""The proof finds what is wrong, and is not misled by what rounding does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.compiler.native.proof import ProofError, prove
from sursum.compiler.native.rounding import rounding

Q = torch.tensor([0.3, -0.7], dtype=torch.float64)


class Off:
    """A compiled function whose gradient is off by `error`."""

    title = "off"

    def __init__(self, replay: object, error: float) -> None:
        self.replay, self.error = replay, error

    def outputs(self, q: np.ndarray) -> list[np.ndarray]:
        value, gradient = self.replay(torch.from_numpy(q))  # type: ignore[operator]
        return [value.numpy(), gradient.numpy() + self.error]


def well(q: Tensor) -> tuple[Tensor, Tensor]:
    """A standard normal density and its gradient."""
    return -(q * q).sum() / 2, -q


def ill(q: Tensor) -> tuple[Tensor, Tensor]:
    """The same, by way of numbers that cancel: nine digits are lost."""
    return -(q * q).sum() / 2, ((1e7 - q) - 1e7)


@pytest.mark.parametrize("error", [1e-8, -1e-8, np.nan, np.inf])
def test_a_gradient_that_is_off_is_found(error: float) -> None:
    with pytest.raises(
        ProofError, match="the compiled gradient disagrees with the captured graph at proof point 0: component 0"
    ):
        prove(Off(well, error), well, [Q])  # type: ignore[arg-type]


def test_what_rounding_alone_does_is_no_fault() -> None:
    assert prove(Off(ill, 1e-9), ill, [Q]) == 1  # type: ignore[arg-type]


def test_what_rounding_cannot_do_is_a_fault_there_too() -> None:
    with pytest.raises(ProofError, match="the compiled gradient"):
        prove(Off(ill, 1e-6), ill, [Q])  # type: ignore[arg-type]


def test_rounding_is_measured() -> None:
    """A sum of 1 + 1e7 and −1e7 in double: the last bit of 1e7 is 2⁻²⁹, and each of two operations moves it by one at most."""
    (_, steady), (_, blurred) = rounding(well, Q), rounding(ill, Q)
    assert steady.max() < 1e-15
    assert 2.0**-31 < blurred.max() < 2.0**-27


def test_rounding_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    rounding(well, Q)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_nearly_singular_covariance_is_compiled() -> None:
    """Eleven points of a smooth Gaussian process: the covariance has condition 10¹², and its gradient five digits fewer."""
    x = torch.linspace(-10.0, 10.0, 11, dtype=torch.float64)

    def process() -> None:
        rho = su.sample("rho", dist.Gamma(torch.tensor(25.0, dtype=torch.float64), 4.0))
        z = su.sample("z", dist.Normal(torch.zeros_like(x), 1.0).to_event(1))
        covariance = (-(x[:, None] - x).square() / (2 * rho.square())).exp() + 1e-10 * torch.eye(11, dtype=torch.float64)
        f = torch.linalg.cholesky(covariance) @ z
        with su.plate("x", 11):
            su.sample("k", dist.Poisson(f.exp()), obs=torch.ones_like(x))

    assert su.compile(process, engine="native").engine == "native"


def test_where_rounding_decides_whether_there_is_a_number_nothing_can_be_told() -> None:
    def edge(q: Tensor) -> tuple[Tensor, Tensor]:
        """A density that a last digit of 1/3 + 2/3 moves from a number to −∞."""
        inside = q[0] / 3.0 + 2.0 * q[0] / 3.0 <= q[0]
        return torch.where(inside, q[0] * 1.0, -torch.inf), torch.ones_like(q)

    found = SimpleNamespace(title="model", outputs=lambda q: [np.array(-np.inf), np.zeros(1)])
    assert prove(cast(Any, found), edge, [torch.ones(1, dtype=torch.float64)]) == 1
