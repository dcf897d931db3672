"""`fit` does not call saddles, minima and unbounded log densities maxima."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.errors import DiagnosticWarning
from sursum.optimise.maximise import Iterate, maximise

D = torch.float64


def start(value_and_grad: object, q: np.ndarray) -> Iterate:
    return Iterate(q, *value_and_grad(q))  # type: ignore[operator]


@pytest.mark.parametrize("n", [2, 60])
def test_a_saddle_is_left_along_the_direction_that_curves_upwards(n: int) -> None:
    """f = −Σ q² + 3 q₀² − q₀⁴, of maximum 1 at q₀ = ±1, has a saddle at 0 with no gradient at all."""

    def value_and_grad(q: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = -2.0 * q
        gradient[0] += 6.0 * q[0] - 4.0 * q[0] ** 3
        return float(-(q @ q) + 3.0 * q[0] ** 2 - q[0] ** 4), gradient

    found = maximise(value_and_grad, start(value_and_grad, np.zeros(n)), 1000)
    assert found.converged
    assert found.point.value == pytest.approx(1.0, abs=1e-9)
    assert found.point.q[0] == pytest.approx(1.0, abs=1e-5)


def test_a_ridge_is_no_saddle() -> None:
    def value_and_grad(q: np.ndarray) -> tuple[float, np.ndarray]:
        total = q.sum() - 1.0
        return float(-(total**2)), np.full(2, -2.0 * total)

    found = maximise(value_and_grad, start(value_and_grad, np.zeros(2)), 1000)
    assert found.converged
    assert found.point.value == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_a_mixture_whose_components_start_alike_is_fitted(engine: str) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 100, generator=generator, dtype=D)
    y = torch.cat([noise[0] - 3.0, noise[1] + 3.0])

    def model(y: Tensor) -> None:
        mu = su.sample("mu", dist.Normal(torch.zeros(2, dtype=D), 10.0).to_event(1))
        with su.plate("data", len(y)):
            su.sample("y", dist.MixtureSameFamily(dist.Categorical(torch.ones(2, dtype=D)), dist.Normal(mu, 1.0)), obs=y)

    fit, apart = (su.infer.Fit(model, init=init, engine=engine).run(y) for init in (None, {"mu": torch.tensor([-1.0, 1.0])}))
    assert fit.converged
    assert float(fit.log_density) == pytest.approx(float(apart.log_density), abs=1e-6)
    torch.testing.assert_close(fit["mu"].sort().values, apart["mu"].sort().values, atol=1e-4, rtol=0.0)


def test_a_minimum_is_left_and_what_has_no_maximum_is_said() -> None:
    """Beta(½, ½) has its minimum at ½, where the search starts, and no bound; with the Jacobian its mode is there."""

    def model() -> None:
        su.sample("x", dist.Beta(torch.tensor(0.5, dtype=D), 0.5))

    with pytest.warns(DiagnosticWarning, match="grows without bound .*'x'"):
        assert not su.infer.Fit(model).run().converged
    mode = su.infer.Fit(model, jacobian=True).run()
    assert mode.converged
    assert float(mode["x"]) == pytest.approx(0.5, abs=1e-6)


def test_a_maximum_at_the_boundary_of_a_support_is_one() -> None:
    fit = su.infer.Fit(lambda: su.sample("x", dist.Beta(torch.tensor(2.0, dtype=D), 1.0))).run()
    assert fit.converged
    assert float(fit["x"]) == pytest.approx(1.0, abs=1e-5)


def test_an_unbounded_likelihood_names_the_site() -> None:
    def model(y: Tensor) -> None:
        mu = su.param("mu", torch.tensor(0.0))
        s = su.param("s", torch.tensor(1.0), constraint=constraints.positive)
        with su.plate("data", len(y)):
            su.sample("y", dist.Normal(mu, s), obs=y)

    with pytest.warns(DiagnosticWarning, match="most steeply by 's'.*a scale that goes to 0.*give it a prior"):
        fit = su.infer.Fit(model).run(torch.full((3,), 2.0))
    assert not fit.converged
    assert float(fit["s"]) < 1e-100  # as far as doubles hold its square
