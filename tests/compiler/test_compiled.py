"""What a compiled density is given, and how it shows itself."""

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.density.log_density import LogDensity
from sursum.errors import DensityError, SiteError


@pytest.fixture(scope="module")
def density():
    def normal():
        su.sample("z", dist.Normal(torch.zeros(2, dtype=torch.float64), 1.0).to_event(1))

    return su.compile(normal)


@pytest.mark.parametrize("q", [[1.0, 2.0], np.array([1, 2]), torch.tensor([1.0, 2.0], requires_grad=True)])
def test_any_array_of_real_numbers_will_do(density, q):
    value, gradient = density.value_and_grad(q)
    assert value == pytest.approx(-2.5 - np.log(2 * np.pi))
    assert gradient.tolist() == [-1.0, -2.0]


@pytest.mark.parametrize("q", ["a", np.array([1j, 0.0]), None, [[1.0], [1.0, 2.0]], {"z": 1.0}])
def test_anything_else_is_refused(density, q):
    with pytest.raises(DensityError, match="q must be an array of 2 real numbers, and is not: "):
        density.value_and_grad(q)
    with pytest.raises(DensityError, match=r"has 2 unconstrained coordinates, and q has shape \(3,\)"):
        density.value_and_grad(np.zeros(3))


def test_it_shows_itself_in_a_line(density):
    assert repr(density).endswith("normal: 2 unknowns (z), native engine>")


def test_a_module_that_is_none_is_refused():
    with pytest.raises(SiteError, match=r"module 'net' \(test_compiled.py:\d+\) must be a torch.nn.Module, and is None"):
        su.module("net", None)


def test_a_scored_start_is_a_start_and_the_log_density_there():
    def program():
        z = su.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        scale = su.sample("scale", dist.HalfNormal(1.0))
        su.sample("y", dist.Normal(z.sum(), scale), obs=torch.tensor(0.3))

    density = LogDensity(program)
    q, value = density.scored_start(np.random.default_rng(3))
    np.testing.assert_array_equal(q, density.start(np.random.default_rng(3)))
    assert value == pytest.approx(float(density(torch.from_numpy(q))), rel=1e-15)


def test_groups_that_a_loop_names_one_by_one_have_their_closed_form():
    data = [torch.linspace(-1.0, 2.0, 2 + k % 4, dtype=torch.float64) + k % 5 for k in range(20)]

    def program():
        for k, y in enumerate(data):
            mu = su.sample(f"mu{k}", dist.Normal(0.0, 3.0))
            su.sample(f"y{k}", dist.Normal(mu, 1.0).expand(y.shape).to_event(1), obs=y)

    density = su.compile(program, engine="native")
    assert [latent.name for latent in density.density.latents] == [f"mu{k}" for k in range(20)]
    q = np.linspace(-2.0, 2.0, 20)
    value, gradient = density.value_and_grad(q)
    residuals = [y.numpy() - mu for mu, y in zip(q, data, strict=True)]
    rows = sum(map(len, data))
    wanted = -0.5 * (q**2).sum() / 9 - 20 * np.log(3) - 0.5 * sum((r**2).sum() for r in residuals)
    assert value == pytest.approx(wanted - 0.5 * (20 + rows) * np.log(2 * np.pi), rel=1e-12)
    np.testing.assert_allclose(gradient, [r.sum() - mu / 9 for mu, r in zip(q, residuals, strict=True)], rtol=1e-12)
