"""Which sites reach nothing but their prior: those that are indices or are compared reach the data, without a gradient."""

from __future__ import annotations

import warnings

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import UnusedSiteWarning

TABLE = torch.linspace(-1.0, 1.0, 5, dtype=torch.float64)
Y = torch.tensor([0.1, 0.4])

REACHING = {
    "an index": lambda x: TABLE[(2.0 * x).long().clamp(0, 4)].sum(),
    "a single index": lambda x: TABLE[(2.0 * x[0]).long().clamp(0, 4)],
    "gather": lambda x: TABLE.gather(0, (x > 0.5).long()).sum(),
    "one place": lambda x: TABLE[x.argmax().reshape(1)].sum(),
    "a comparison": lambda x: torch.where(x > 0.8, 1.0, 0.0).sum(),
    "a rounded number": lambda x: x.round().sum(),
    "a far edge": lambda x: (x > 2.5).sum(),
}


def model(use):
    def program():
        x = su.sample("x", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        su.sample("idle", dist.Normal(0.0, 1.0))
        with su.plate("data", 2):
            su.sample("y", dist.Normal(use(x) * 1.0, 1.0), obs=Y)

    return program


@pytest.mark.parametrize("use", REACHING.values(), ids=REACHING)
def test_a_site_that_is_an_index_reaches_the_data(use):
    with pytest.warns(UnusedSiteWarning, match="the latent site 'idle' affects nothing but the prior") as caught:
        su.infer.LogDensity(model(use))
    assert len(caught) == 1


def test_the_prior_of_a_site_that_is_an_index_reaches_them_too():
    def program(reaches):
        scale = su.sample("scale", dist.HalfNormal(1.0))
        x = su.sample("x", dist.Normal(torch.zeros(3), scale).to_event(1))
        su.sample("y", dist.Normal(TABLE[(2.0 * x).long().clamp(0, 4)].sum() if reaches else 0.0, 1.0), obs=Y[0])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        su.infer.LogDensity(program, (True,))
    with pytest.warns(UnusedSiteWarning, match="the latent sites 'scale', 'x' affect nothing but the prior"):
        su.infer.LogDensity(program, (False,))


def test_where_a_moved_site_makes_the_program_fail():
    def program():
        x = su.sample("x", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(TABLE[(20 * x).long().abs().reshape(1)].sum(), 1.0), obs=Y[0])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        su.infer.LogDensity(program)
