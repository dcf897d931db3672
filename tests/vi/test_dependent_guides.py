"""Guides whose sites depend on each other: with the exact posterior's parameters the bound is the evidence at every draw."""

from __future__ import annotations

import math

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.distributions.bijections import bijection
from sursum.errors import GuideError
from sursum.infer import SVI
from sursum.infer.autoguide import AutoHierarchicalNormal, AutoRegressive, AutoStructured

Y = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)

pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")


def one(value):
    return torch.tensor(value, dtype=torch.float64)


def groups(y=Y):
    mu = su.sample("mu", dist.Normal(one(0.0), one(2.0)))
    with su.plate("groups", 3):
        z = su.sample("z", dist.Normal(mu, one(1.0)))
        su.sample("y", dist.Normal(z, one(1.0)), obs=y)


# mu and z given y: by hand.
VARIANCE = 1.0 / (1.0 / 4.0 + 3.0 / 2.0)
MEAN = VARIANCE * float(Y.sum()) / 2.0
COVARIANCE = 2.0 * torch.eye(3, dtype=torch.float64) + 4.0
EVIDENCE = float(torch.distributions.MultivariateNormal(torch.zeros(3, dtype=torch.float64), COVARIANCE).log_prob(Y))

CASES = {
    "hierarchical": (
        lambda: AutoHierarchicalNormal(groups, sites=["z"]),
        {"loc.mu": one(MEAN), "scale.mu": one(VARIANCE**0.5)},
        {"loc.z": Y / 2.0, "weight.z": one([0.5] * 3), "scale.z": one([0.5**0.5] * 3)},
    ),
    "structured": (
        lambda: AutoStructured(groups, conditionals="normal", dependencies={"z": {"mu": "linear"}}),
        {"loc.mu": one([MEAN]), "scale.mu": one([VARIANCE**0.5])},
        {
            "loc.z": (Y + MEAN) / 2.0,
            "scale.z": one([0.5**0.5] * 3),
            "weight.z.mu": one([[0.5]] * 3),
        },
    ),
}


def at(guide, *values, model=groups):
    svi = SVI(model, guide, su.optim.SGD(lr=0.0), seed=0)
    svi.step()
    with torch.no_grad():
        for name, value in {k: v for part in values for k, v in part.items()}.items():
            leaf = svi._training.store.unconstrained[f"auto.{name}"]
            positive = name.startswith(("scale", "weight")) and "z.mu" not in name
            leaf.copy_(bijection(dist.constraints.positive).inv(value) if positive else value)
            torch.testing.assert_close(svi.params[f"auto.{name}"].detach(), value)
    return svi


@pytest.mark.parametrize("which", CASES)
def test_the_exact_posterior_has_the_evidence_at_every_draw(which):
    make, *values = CASES[which]
    svi = at(make(), *values)
    for _ in range(3):
        assert svi.step() == pytest.approx(-EVIDENCE, abs=1e-10)
    draws = svi.sample(2000)
    weights = draws.stats["log_weight"]
    assert abs(weights - EVIDENCE).max() < 1e-9
    assert abs(float(draws["mu"].mean()) - MEAN) < 5 * (VARIANCE / 2000) ** 0.5


def test_the_whole_covariance_is_that_of_blocks():
    torch.manual_seed(0)
    guide = AutoStructured(groups)
    svi = at(guide)
    leaves = svi._training.store.unconstrained
    with torch.no_grad():
        for name in ("auto.lower.z", "auto.weight.z.mu"):
            leaves[name].normal_(0.0, 0.5)
        held = {name: svi.params[f"auto.{name}"].detach() for name in ("scale.mu", "scale.z", "lower.z", "weight.z.mu")}
        turn = torch.eye(3, dtype=torch.float64)
        turn[1, 0], turn[2, 0], turn[2, 1] = held["lower.z"]
        turn = held["scale.z"][:, None] * turn
        wanted = turn @ turn.T + held["scale.mu"] ** 2 * held["weight.z.mu"] @ held["weight.z.mu"].T
    draws = svi.sample(20_000)["z"][0]
    # The standard error of a covariance: at most √(2 / n) of the variances.
    bound = 5 * math.sqrt(2.0 / 20_000) * float(wanted.diagonal().max())
    torch.testing.assert_close(torch.cov(draws.T), wanted, rtol=0, atol=bound)


def skewed():
    z = su.sample("z", dist.LogNormal(one(0.0), 1.0))
    su.sample("y", dist.Normal(z.log(), 1.0), obs=one(1.0))


@pytest.mark.parametrize(
    ("make", "values"),
    [
        # log z is normal with mean 1/2 and variance 1/2, and the prior's mean of z is e^½.
        (AutoHierarchicalNormal, {"loc.z": one(0.25), "weight.z": one(0.5), "scale.z": one(0.5**0.5)}),
        (AutoStructured, {"loc.z": one([0.5]), "scale.z": one([0.5**0.5])}),
        (AutoRegressive, {"loc.z": one(0.5), "scale.z": one(0.5**0.5)}),
    ],
)
def test_densities_are_those_on_the_support(make, values):
    svi = at(make(skewed), values, model=skewed)
    evidence = float(dist.Normal(0.0, 2.0**0.5).log_prob(torch.tensor(1.0).double()))
    for _ in range(3):
        assert svi.step() == pytest.approx(-evidence, abs=1e-7)
    assert abs(svi.sample(100).stats["log_weight"] - evidence).max() < 1e-7


def log_normal():
    mu = su.sample("mu", dist.Normal(one(0.0), one(2.0)))
    with su.plate("groups", 3):
        z = su.sample("z", dist.LogNormal(mu, one(1.0)))
        su.sample("y", dist.Normal(z, one(1.0)), obs=Y)


SCALES = {"scale.mu": 0.5, "scale.z": [0.4, 0.5, 0.6], "loc.mu": 0.2, "loc.z": [0.1, -0.2, 0.3]}


# Draws of Pyro 1.9.2's guides at these parameters, and its log p - log q there.
@pytest.mark.parametrize(
    ("guide", "values", "mu", "z", "wanted"),
    [
        (
            AutoHierarchicalNormal(log_normal),
            SCALES | {"weight.mu": 0.7, "weight.z": [0.5, 0.6, 0.7]},
            -0.34226117121201044,
            [0.6834725778901956, 1.1011077528173772, 2.4923672955954235],
            -10.223153674871678,
        ),
        (
            AutoStructured(log_normal, conditionals={"mu": "normal", "z": "mvn"}, dependencies={"z": {"mu": "linear"}}),
            SCALES
            | {"scale.mu": [0.5], "loc.mu": [0.2], "weight.z.mu": [[0.5], [0.6], [-0.7]]}
            # Pyro scales the rows of its factor, and this guide those of one with ones on its diagonal: the same here.
            | {"lower.z": [0.3, -0.2, 0.4]},
            0.27469850066121626,
            [0.8772223635310535, 0.6956539217011294, 1.0177845599395206],
            -8.440973410734987,
        ),
        (
            AutoRegressive(log_normal),
            SCALES,
            -0.4859184542866947,
            [0.4983642236397746, 0.7294475138639567, 2.977243889493065],
            -9.542942368281158,
        ),
    ],
)
def test_densities_are_pyros_at_the_same_parameters(guide, values, mu, z, wanted):
    svi = at(guide, {name: one(value) for name, value in values.items()}, model=log_normal)
    data = {"mu": one(mu), "z": one(z)}
    joint = {"auto.z": torch.cat([one([mu]), one(z).log()])} if isinstance(guide, AutoStructured) else data
    with torch.no_grad(), svi.params:
        log_q = su.trace(su.substitute(guide, data=joint)).get_trace().log_prob_sum()
        log_p = su.trace(su.substitute(log_normal, data=data)).get_trace().log_prob_sum()
    assert float(log_p - log_q) == pytest.approx(wanted, abs=1e-9)


def test_regressive_guides_start_at_the_prior():
    svi = SVI(groups, AutoRegressive(groups), su.optim.SGD(lr=0.0), seed=0)
    svi.step()
    found = svi.sample(4000)
    assert abs(float(found["mu"].std()) - 2.0) < 5 * 2.0 / math.sqrt(2 * 4000)
    assert abs(float(found["z"].std()) - 5.0**0.5) < 5 * 5.0**0.5 / math.sqrt(2 * 4000) * 3**0.5


def heavy():
    su.sample("y", dist.Normal(su.sample("z", dist.Cauchy(one(0.0), 1.0)), 1.0), obs=one(1.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AutoHierarchicalNormal(heavy)(), "'z'.*has no mean"),
        (lambda: AutoHierarchicalNormal(groups, sites=["a"])(), "names 'a'"),
        (lambda: AutoHierarchicalNormal(groups, sites="z"), r"\['z'\]"),
        (lambda: AutoStructured(groups, conditionals="full"), "'full'.*'mvn'"),
        (lambda: AutoStructured(groups, dependencies="sparse"), "'sparse'"),
        (lambda: AutoStructured(groups, dependencies={"z": {"a": "linear"}})(), "no latent site 'a'"),
        (lambda: AutoStructured(groups, dependencies={"z": {"mu": "square"}})(), "neither 'linear' nor a function"),
        (lambda: AutoStructured(groups, dependencies={"z": {"mu": "linear"}, "mu": {"z": "linear"}})(), "circle"),
        (lambda: at(AutoStructured(groups)).guide.median(su.ParamStore()), "no marginal quantiles"),
        (lambda: at(AutoHierarchicalNormal(groups)).guide.median(su.ParamStore()), "no marginal quantiles"),
    ],
)
def test_what_cannot_be_done_is_said(make, message):
    with su.ParamStore(), pytest.raises(GuideError, match=message):
        make()
