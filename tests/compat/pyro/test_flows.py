"""Transforms with parameters: bijections whose volume changes as they say, which optimisers train and programs read."""

from __future__ import annotations

import math

import pytest
import torch

pytest.importorskip("zuko")

import sursum.compat.pyro as pyro
import sursum.compat.pyro.distributions as dist
import sursum.compat.pyro.distributions.transforms as T  # noqa: N812
from sursum.errors import MissingNameError, OptionError

D = torch.float64
MADE = {
    "affine_autoregressive": lambda: T.affine_autoregressive(3),
    "affine_coupling": lambda: T.affine_coupling(3, hidden_dims=[7]),
    "spline": lambda: T.spline(3, count_bins=4),
    "spline_autoregressive": lambda: T.spline_autoregressive(3, hidden_dims=[8, 8], count_bins=4, bound=2.0),
    "spline_coupling": lambda: T.spline_coupling(3, split_dim=2, count_bins=4),
    "permute": lambda: T.permute(3, torch.tensor([2, 0, 1])),
    "iterated": lambda: T.iterated(2, T.affine_coupling, 3),
}


@pytest.fixture(params=MADE)
def made(request: pytest.FixtureRequest):
    torch.manual_seed(0)
    transform = MADE[request.param]()
    return transform.to(D) if isinstance(transform, torch.nn.Module) else transform


def test_it_is_a_bijection_with_the_jacobian_that_it_says(made) -> None:
    x = torch.randn(4, 3, dtype=D, generator=torch.Generator().manual_seed(1))
    y = made(x)
    torch.testing.assert_close(made.inv(y), x, rtol=1e-9, atol=1e-9)
    found = made.log_abs_det_jacobian(x, y)
    exact = [torch.linalg.slogdet(torch.autograd.functional.jacobian(made, row)).logabsdet for row in x]
    torch.testing.assert_close(found, torch.stack(exact), rtol=1e-9, atol=1e-9)


def test_elements_before_the_split_stay(made) -> None:
    torch.manual_seed(0)
    coupling = T.spline_coupling(3, split_dim=2).double()
    x = torch.randn(4, 3, dtype=D)
    y = coupling(x)
    assert torch.equal(y[:, :2], x[:, :2])
    assert bool((y[:, 2] != x[:, 2]).all())


def test_a_flow_is_trained_to_its_data() -> None:
    """As in Pyro's tutorial: an optimiser over the transform's parameters, against the density of the data."""
    torch.manual_seed(0)
    x = torch.randn(400, 2)
    data = torch.stack([x[:, 0], 0.5 * x[:, 1] + 2.0 * x[:, 0] - 1.0], -1)
    transform = T.affine_autoregressive(2, hidden_dims=[8])
    flow = dist.TransformedDistribution(dist.Normal(torch.zeros(2), torch.ones(2)), [transform])
    optimizer = torch.optim.Adam(transform.parameters(), lr=0.03)
    for _ in range(200):
        loss = -flow.log_prob(data).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    exact = 1.0 + math.log(2 * math.pi) + math.log(0.5)  # the entropy of the data's distribution
    assert loss.item() < exact + 0.15
    assert flow.sample((5,)).shape == (5, 2)


@pytest.mark.parametrize("steps", [2, pytest.param(300, marks=pytest.mark.slow)])
def test_a_program_trains_it_by_name(steps: int) -> None:
    """In a guide, by `pyro.module`: the posterior of a vector with correlated elements."""
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    transform = T.affine_autoregressive(2, hidden_dims=[8])
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]])

    def model():
        pyro.sample("z", dist.MultivariateNormal(torch.zeros(2), covariance))

    def guide():
        pyro.module("flow", transform)
        base = dist.Normal(torch.zeros(2), torch.ones(2))
        pyro.sample("z", dist.TransformedDistribution(base, [transform]))

    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.02}), pyro.infer.Trace_ELBO(num_particles=8))
    before = [parameter.detach().clone() for parameter in transform.parameters()]
    losses = [svi.step() for _ in range(steps)]
    assert any(not torch.equal(a, b) for a, b in zip(before, transform.parameters(), strict=True))
    if steps == 300:
        assert sum(losses[-50:]) / 50 < 0.15  # the exact posterior has 0, the best of independent elements 0.83


def test_linear_splines_are_refused() -> None:
    with pytest.raises(OptionError, match="rational-quadratic: leave it out"):
        T.spline(2, order="linear")


def test_what_zuko_does_not_have_says_what_to_write() -> None:
    with pytest.raises(MissingNameError, match=r"planar is not here: zuko has none; write spline_coupling"):
        T.planar  # noqa: B018
    with pytest.raises(MissingNameError, match=r"SplineCoupling is not here: write the function, spline_coupling"):
        T.SplineCoupling  # noqa: B018
