"""How far to centre, by draws whose best centring is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.mcmc.centring import MARKS, FindRelative, RecordRelative, Relative, learn_centring

RNG = np.random.default_rng(0)
DRAWS = 20_000


def draws(loc, scale, value):
    return {f"x{mark}": torch.as_tensor(one)[None] for mark, one in zip(MARKS, (loc, scale, value), strict=True)}


@pytest.mark.parametrize(("noise", "best"), [(3.0, 0.1), (1.0, 0.5), (1.0 / 3.0, 0.9)])
def test_the_centring_of_a_normal_mean_is_known(noise, best):
    """With μ unknown, σ = 1 and data y = x + N(0, s²): cov(x, μ) / var(μ) is s²/(1 + s²), and the best c is 1 less that."""
    mu = RNG.normal(size=DRAWS)
    slope = noise**2 / (1 + noise**2)
    x = slope * mu + np.sqrt(slope) * RNG.normal(size=DRAWS)
    found = learn_centring(draws(mu, np.ones(DRAWS), x), "x", in_time=False)
    assert found == pytest.approx(best, abs=0.051)  # the grid's step, and the error of a slope by 20,000 draws is 0.01


def test_each_element_has_its_own():
    """Element 0 is known from data alone, whatever the scale; of element 1 they say nothing, and it is z·σ."""
    scale = np.exp(RNG.normal(size=DRAWS))
    known, unknown = 2.0 + 0.01 * RNG.normal(size=DRAWS), scale * RNG.normal(size=DRAWS)
    value = np.stack([known, unknown], axis=-1)
    loc, scale = np.zeros_like(value), np.stack([scale, scale], axis=-1)
    found = learn_centring(draws(loc, scale, value), "x", in_time=False)
    assert found.tolist() == [1.0, 0.0]
    # In time one number serves all: the element that gains most decides.
    assert learn_centring(draws(loc, scale, value), "x", in_time=True).shape == ()


pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.UnusedSiteWarning")


def hierarchy():
    mu, tau = su.sample("mu", dist.Normal(0.0, 1.0)), su.sample("tau", dist.HalfNormal(1.0))
    with su.plate("g", 3):
        su.sample("x", dist.Normal(mu, tau))
        su.sample("rate", dist.LogNormal(mu, 1.0))
        su.sample("alone", dist.Normal(0.0, 1.0))
        su.sample("positive", dist.Gamma(tau, 1.0))
        su.sample("y", dist.Normal(mu, tau), obs=torch.zeros(3))

    def step(carry, _):
        carry = su.sample("walk", dist.Normal(carry, tau))
        return carry, carry

    su.scan(step, torch.tensor(0.0), torch.zeros(4))


def test_sites_that_depend_on_others_are_found():
    found: dict[str, Relative] = {}
    su.infer.LogDensity(FindRelative(hierarchy, found=found))
    assert found == {"x": Relative(False, False), "rate": Relative(True, False), "walk": Relative(False, True)}


def test_locations_scales_and_bases_are_kept():
    found: dict[str, Relative] = {}
    su.infer.LogDensity(FindRelative(hierarchy, found=found))
    program = su.seed(RecordRelative(hierarchy, sites=found), 0)
    trace = su.trace(program).get_trace()
    assert trace["x location"].value.tolist() == [float(trace["mu"].value)] * 3
    assert trace["x scale"].value.tolist() == [float(trace["tau"].value)] * 3
    assert torch.allclose(trace["rate base"].value, trace["rate"].value.log())
    assert trace["walk scale"].value.shape == (4,)
