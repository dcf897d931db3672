"""The contract of every way to write a site: the joint distribution stays, so evidence and posterior do.

One site x ~ N(1.4, 1.2²), seen once as y = x + noise of sd 0.7: evidence and posterior are in closed form, and a sum over a
grid of the one coordinate gives them for each way of writing x.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.infer.reparam import LocScaleReparam, NeuTraReparam, TransformReparam

double = lambda value: torch.tensor(value, dtype=torch.float64)
LOC, SCALE, NOISE, SEEN = 1.4, 1.2, 0.7, 3.0


def normal():
    x = su.sample("x", dist.Normal(double(LOC), double(SCALE)))
    su.sample("y", dist.Normal(x, NOISE), obs=double(SEEN))


def transformed():
    """The same distribution of x, by an affine map of another normal."""
    base = dist.Normal(double(0.2), double(0.4))
    x = su.sample("x", dist.TransformedDistribution(base, [dist.transforms.AffineTransform(double(0.8), double(3.0))]))
    su.sample("y", dist.Normal(x, NOISE), obs=double(SEEN))


def neutra():
    guide = su.infer.autoguide.AutoMultivariateNormal(normal, init_scale=1.5)
    with su.ParamStore() as store:
        guide()
    for leaf in store.leaves():
        leaf.data.add_(0.2)
    return NeuTraReparam(guide, store)


STRATEGIES = {
    "as it is": (normal, lambda: None),
    "decentred": (normal, lambda: LocScaleReparam(0.0)),
    "partly": (normal, lambda: LocScaleReparam(0.3)),
    "centred": (normal, lambda: LocScaleReparam(1.0)),
    "learnt": (normal, lambda: LocScaleReparam(None)),
    "transform": (transformed, TransformReparam),
    "neutra": (normal, neutra),
}


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.filterwarnings("ignore:parameter 'x_centered' is not lifted")
def test_evidence_and_posterior_are_unchanged(name):
    model, make = STRATEGIES[name]
    strategy = make()
    compiled = su.compile(model if strategy is None else su.reparam(model, {"**": strategy}))
    assert compiled.dim == 1
    grid = np.linspace(-12.0, 14.0, 2001)[:, None]
    log_density = np.array([compiled.value_and_grad(q)[0] for q in grid])
    weights = np.exp(log_density) * (grid[1, 0] - grid[0, 0])
    evidence = torch.distributions.Normal(double(LOC), np.hypot(SCALE, NOISE)).log_prob(double(SEEN))
    np.testing.assert_allclose(np.log(weights.sum()), float(evidence), rtol=1e-9)
    x = compiled.expand(grid)["x"].numpy()
    precision = SCALE**-2 + NOISE**-2
    mean = weights @ x / weights.sum()
    np.testing.assert_allclose(mean, (LOC / SCALE**2 + SEEN / NOISE**2) / precision, rtol=1e-8)
    np.testing.assert_allclose(weights @ (x - mean) ** 2 / weights.sum(), 1 / precision, rtol=1e-8)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in ("as it is",)])
@pytest.mark.filterwarnings("ignore:parameter 'x_centered' is not lifted")
def test_x_is_kept_as_a_deterministic_site(name):
    model, make = STRATEGIES[name]
    found = su.trace(su.reparam(model, {"x": make()})).get_trace()
    assert found["x"].type == "deterministic"
    assert found["x"].value.shape == ()
    assert found["x"].value.dtype is torch.float64


@pytest.mark.parametrize("name", ["decentred", "partly", "centred", "learnt", "transform"])
@pytest.mark.filterwarnings("ignore:parameter 'x_centered' is not lifted")
def test_a_start_at_x_reaches_x(name):
    model, make = STRATEGIES[name]
    density = su.infer.LogDensity(su.reparam(model, {"x": make()}))
    q = density.start(np.random.default_rng(0), {"x": 2.5})
    np.testing.assert_allclose(float(density.transform(torch.from_numpy(q))["x"]), 2.5, rtol=1e-12)
