"""A run of a program that observes nothing says so, and names the sites that could be observed."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import sursum as su
import sursum.distributions as dist
from sursum.density.log_density import LogDensity
from sursum.density.unobserved import announce_unobserved
from sursum.errors import ObservationWarning

X = torch.ones(3)

pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")


def line(x, y=None):
    slope = su.sample("slope", dist.Normal(0.0, 1.0))
    with su.plate("data", len(x)):
        return su.sample("y", dist.Normal(slope * x, 1.0), obs=y)


def factored(x, y=None):
    su.factor("f", -line(x, y).sum())


def guide(x, y=None):
    su.sample("slope", dist.Normal(su.param("loc", torch.tensor(0.0)), 1.0))
    if y is None:
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(torch.zeros(3), 1.0))


def svi(model):
    return su.infer.SVI(model, guide, su.optim.Adam({"lr": 0.1}), seed=0)


SHORT = {"num_warmup": 20, "num_samples": 5, "num_chains": 1, "seed": 0, "progress": False}
RUNS = {
    "NUTS": lambda model, *args: su.infer.MCMC(su.infer.NUTS(model), **SHORT).run(*args),
    "fit": lambda model, *args: su.infer.Fit(model).run(*args),
    "fit by steps": lambda model, *args: su.infer.Fit(
        model, optim=lambda ps: torch.optim.SGD(ps, 0.1), num_steps=3, seed=0
    ).run(*args),
    "laplace": lambda model, *args: su.infer.Laplace(model, seed=0, num_samples=5).run(*args),
    "Pathfinder": lambda model, *args: su.infer.Pathfinder(model, seed=0, num_paths=1).run(*args),
    "SVI.run": lambda model, *args: svi(model).run(2, *args),
    "SVI.step": lambda model, *args: svi(model).step(*args),
}


@pytest.mark.parametrize("way", RUNS)
def test_it_is_said_once_where_data_were_forgotten_and_not_where_they_are_there(way):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        RUNS[way](line, X)
    said = [str(one.message) for one in caught if one.category is ObservationWarning]
    assert len(said) == 1
    assert "no site is observed" in said[0]
    assert "'y'" in said[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ObservationWarning)
        RUNS[way](line, X, X)
        RUNS[way](factored, X)


def test_the_sites_that_could_be_observed_are_those_on_which_no_other_depends():
    def hierarchy():
        scale = su.sample("scale", dist.HalfNormal(1.0))
        with su.plate("groups", 4):
            effect = su.sample("effect", dist.Normal(0.0, scale))
            su.sample("y", dist.Normal(effect, 1.0))
        su.sample("alone", dist.Normal(0.0, 1.0))

    assert LogDensity(hierarchy).unobserved == ("y",)
    assert LogDensity(lambda: (su.sample("a", dist.Normal(0.0, 1.0)), su.sample("b", dist.Normal(0.0, 1.0)))).unobserved == (
        "a",
        "b",
    )
    net = su.lift(nn.Linear(1, 1), dist.Normal(0.0, 1.0))
    assert LogDensity(net, (torch.ones(1, 1),)).unobserved == ()
    with pytest.warns(ObservationWarning, match=r"no factor: .* Write a site with `obs=`"):
        announce_unobserved(())


def test_a_density_alone_says_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        su.compile(line, X)
