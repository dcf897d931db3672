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
from sursum.infer.autoguide import AutoGaussian, AutoHierarchicalNormal, AutoNormal, AutoRegressive, AutoStructured

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
    # The terms of log p themselves: those of N(mu; 0, 2), N(z; mu, 1) and N(y; z, 1).
    "gaussian": (
        lambda: AutoGaussian(groups, init_scale=1.0),
        {"root.mu": one([[0.5]])},
        {"root.z": one([[[1.0], [-1.0]]] * 3), "root.y": one([[[1.0]]] * 3), "white.y": Y.unsqueeze(-1)},
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


def test_structured_guides_have_quantiles_where_they_are_linear():
    make, *values = CASES["structured"]
    svi = at(make(), *values)
    found = svi.guide.quantiles(svi.params, [0.5, 0.9])
    z = float(torch.special.ndtri(one(0.9)))
    assert found["mu"].tolist() == pytest.approx([MEAN, MEAN + z * VARIANCE**0.5], abs=1e-12)
    wanted = (Y + MEAN) / 2.0 + z * (0.5 + VARIANCE / 4.0) ** 0.5
    torch.testing.assert_close(found["z"][1], wanted, rtol=1e-12, atol=0)
    assert float(svi.guide.centre(svi.params)["mu"]) == pytest.approx(MEAN, abs=1e-12)


def by_functions(**settings):
    svi = at(AutoStructured(groups, **settings))
    return svi.guide.median(svi.params)


def own(prior, values):
    return dist.Normal(su.param("m", one(0.3)), prior.scale)


def follows(prior, values):
    assert sorted(values) == ["mu"]
    weight = su.param("weight", one(0.5))
    noise = su.sample("e", dist.Normal(one(0.0), 1.0), infer={"is_auxiliary": True})
    assert noise.shape == (3,)
    return dist.Delta(weight * values["mu"] + Y / 2.0 + 0.5**0.5 * noise, log_density=-math.log(0.5**0.5))


def test_conditionals_are_called_in_the_plates_of_their_site():
    """The exact posterior again: of mu by the guide, of z by the user's own, once as noise, once as a distribution."""
    values = {"loc.mu": one(MEAN), "scale.mu": one(VARIANCE**0.5)}
    as_normal = lambda prior, values: dist.Normal(su.param("weight", one(0.5)) * values["mu"] + Y / 2.0, 0.5**0.5)
    for conditional in (follows, as_normal):
        svi = at(AutoNormal(groups, conditionals={"z": conditional}), values)
        assert svi.step() == pytest.approx(-EVIDENCE, abs=1e-10)
        assert sorted(svi.params.unconstrained) == ["auto.loc.mu", "auto.scale.mu", "weight"]


def test_conditionals_in_a_list_and_as_points():
    guide = su.infer.autoguide.AutoGuideList(groups)
    guide.append(AutoNormal(su.poutine.block(groups, expose=["mu"]), conditionals={"mu": lambda prior, values: one(0.3)}))
    guide.append(AutoNormal(su.poutine.block(groups, expose=["z"]), conditionals={"z": lambda prior, values: prior}))
    with su.ParamStore() as store, su.trace() as found:
        guide()
    assert not store.unconstrained
    assert float(found.trace["mu"].value) == 0.3
    assert float(found.trace["z"].fn.log_prob(one(0.3)).sum()) == pytest.approx(3 * -0.5 * math.log(2 * math.pi), abs=1e-12)


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
        (lambda: by_functions(dependencies={"z": {"mu": lambda a: a.tanh().expand(3)}}), "by functions"),
        (lambda: by_functions(dependencies={"z": {"mu": torch.tanh}}), "must return 3 numbers"),
        (lambda: by_functions(conditionals={"mu": lambda: torch.zeros(1).double()}), "by functions"),
        (lambda: AutoStructured(groups, conditionals={"mu": lambda: torch.zeros(2).double()})(), "tensor of 1 numbers"),
        (lambda: AutoNormal(groups, conditionals={"a": lambda prior, values: prior})(), "names 'a'"),
        (lambda: AutoNormal(groups, conditionals={"mu": 1.0}), "must be a function"),
        (lambda: AutoNormal(groups, conditionals={"mu": lambda prior, values: 1.0})(), "returned 1.0"),
        (lambda: AutoNormal(groups, conditionals={"mu": lambda prior, values: one([1.0])})(), "'mu'"),
        (lambda: AutoNormal(groups, conditionals={"z": lambda prior, values: prior.to_event(1)})(), "of shape"),
        (lambda: at(AutoNormal(groups, conditionals={"mu": own})).guide.median(su.ParamStore()), "no quantiles"),
        (lambda: at(AutoHierarchicalNormal(groups)).guide.median(su.ParamStore()), "no marginal quantiles"),
    ],
)
def test_what_cannot_be_done_is_said(make, message):
    with su.ParamStore(), pytest.raises(GuideError, match=message):
        make()


def crossed():
    mu = su.sample("mu", dist.Normal(one(0.0), one(2.0)))
    w = su.sample("w", dist.Normal(one([0.0, 0.0]), 1.0).to_event(1))
    with su.plate("groups", 3):
        z = su.sample("z", dist.LogNormal(mu, one(1.0)))
        su.sample("y", dist.Normal(z + w[0], one(1.0)), obs=Y)
    with su.plate("rows", 4, dim=-2):
        with su.plate("others", 2, dim=-1):
            v = su.sample("v", dist.Normal(w[1], one(1.0)))
        su.sample("t", dist.Normal(v.sum(-1, keepdim=True) * z.sum(), one(1.0)), obs=torch.ones(4, 1).double())


def waves(guide):
    """A value for each parameter of a guide, in Pyro's order."""
    found, at = {}, 0
    for part in ("loc", "scale", "white", "root"):
        sites = ["mu", "w", "z", "v"] if part in ("loc", "scale") else ["mu", "w", "z", "y", "v", "t"]
        for name in sites:
            like = guide[f"auto.{part}.{name}"]
            value = 0.3 * torch.cos(torch.arange(like.numel()).double() * 1.3 + at).reshape(like.shape)
            if part == "scale":
                value = value.abs() + 0.3
            if part == "root" and name not in ("y", "t"):
                value.diagonal(dim1=-2, dim2=-1).add_(1.0)
            found[f"{part}.{name}"], at = value, at + 1
    return found


PYROS_DRAW = [
    *(0.15527383250763, -0.35364897213568713, -0.35241902744801484, -0.862746894324185, 0.2594542287869661),
    *(0.5781688093265918, -0.3584089326712697, -1.0999930907923328, 0.826143665324748, 2.407229016813616),
    *(-0.8277734891075812, -0.6777857350964065, -2.941614593275805, 0.5396798474075262),
]


def test_a_gaussian_with_plates_has_pyros_density_and_median():
    """A draw of Pyro 1.9.2's AutoGaussian at these parameters, its log p - log q there, and its medians."""
    guide = AutoGaussian(crossed)
    with su.ParamStore() as store:
        guide()
    svi = at(guide, waves(store), model=crossed)
    u = one(PYROS_DRAW)
    with torch.no_grad(), svi.params:
        moved = torch.cat([svi.params[f"auto.loc.{name}"].reshape(-1) for name in guide.places])
        moved = moved + u * torch.cat([svi.params[f"auto.scale.{name}"].reshape(-1) for name in guide.places])
        drawn = su.trace(su.substitute(guide, data={"auto.z": moved})).get_trace()
        data = {name: drawn[name].value for name in guide.places}
        log_p = su.trace(su.substitute(crossed, data=data)).get_trace().log_prob_sum()
    assert float(data["z"][0]) == pytest.approx(0.5314302622562208, abs=1e-12)
    assert float(log_p - drawn.log_prob_sum()) == pytest.approx(-43.443313840243945, abs=1e-9)
    median = guide.median(svi.params)
    assert float(median["mu"]) == pytest.approx(0.2607918216499056, abs=1e-12)
    assert median["z"].tolist() == pytest.approx([0.7934426648420201, 0.7748148592519686, 1.0550581831774772], abs=1e-12)
    assert median["v"][1].tolist() == pytest.approx([0.12279770368953401, 0.18285921037345584], abs=1e-12)
