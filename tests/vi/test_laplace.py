"""`AutoLaplaceApproximation`: exact where the posterior is normal, in unconstrained coordinates where a site is constrained."""

import numpy as np
import pytest
import torch
from tests.support import regression
from torch.optim.lr_scheduler import ExponentialLR

import sursum as su
import sursum.distributions as dist
from sursum.errors import DiagnosticWarning, GuideError
from sursum.infer import SVI, autoguide

D = torch.float64
number = lambda value: torch.tensor(value, dtype=D)


def trained(model, *args, steps=3000):
    """At the mode, by a learning rate that shrinks."""
    decay = 1e-4 ** (1 / steps)
    optim = su.optim.Adam({"lr": 0.03}, scheduler=lambda optimizer: ExponentialLR(optimizer, decay))
    svi = SVI(model, autoguide.AutoLaplaceApproximation(model), optim, seed=0)
    assert svi.run(steps, *args).engine == "native"
    return svi


def test_a_linear_regression_has_its_mean_and_covariance():
    x, y, mean, covariance = regression.problem()
    svi = trained(regression.program, x, y)
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(svi.guide.median(svi.params)["w"], mean, rtol=0, atol=1e-3 * sd.min())
    normal = svi.guide.laplace_approximation(svi.params, x, y)
    factor = normal.scale_tril(svi.params)
    assert torch.equal(factor, factor.tril())
    assert bool((factor.diagonal() > 0).all())
    np.testing.assert_allclose(factor @ factor.T, covariance, rtol=1e-7)
    low, median, high = normal.quantiles(svi.params, [0.15865525, 0.5, 0.84134475])["w"].numpy()
    np.testing.assert_allclose((high - low) / 2, sd, rtol=1e-6)
    np.testing.assert_allclose(median, mean, rtol=0, atol=1e-3 * sd.min())


def test_svi_draws_from_the_approximation():
    x, y, mean, covariance = regression.problem()
    svi = trained(regression.program, x, y)
    names = list(svi.params)
    posterior = svi.sample(4000)
    draws = posterior["w"][0].numpy()
    sd = np.sqrt(np.diag(covariance))
    assert (np.abs(draws.mean(0) - mean) < 4 * sd / np.sqrt(4000)).all()
    assert (np.abs(draws.std(0) / sd - 1) < 4 / np.sqrt(2 * 4000)).all()
    correlation = covariance / np.outer(sd, sd)
    off = ((np.corrcoef(draws.T) - correlation) / (1 - correlation**2 + np.eye(3)))[np.triu_indices(3, 1)]
    assert (np.abs(off) < 4 / np.sqrt(4000)).all()
    # All weights are the evidence, up to a mode that is a thousandth of an sd off, five sds away.
    marginal = torch.distributions.MultivariateNormal(torch.zeros(20).double(), torch.eye(20) * 0.25 + 4.0 * x @ x.T)
    np.testing.assert_allclose(posterior.stats["log_weight"], float(marginal.log_prob(y)), rtol=0, atol=5e-3)
    assert list(svi.params) == names == ["auto.loc"]


def test_constrained_sites_are_normal_in_their_coordinates_and_keep_their_places():
    """Gamma(a, b) by its logarithm has curvature a, Beta(a, b) by its logit ab/(a + b); both modes are at log(a / b)."""

    def model(reverse=False):
        sites = {"x": dist.Gamma(number(30.0), 2.0), "p": dist.Beta(number(20.0), 60.0)}
        for name in reversed(sites) if reverse else sites:
            su.sample(name, sites[name])

    svi = trained(model)
    mode = svi.guide.median(svi.params)
    assert float(mode["x"]) == pytest.approx(15.0, rel=1e-5)
    assert float(mode["p"]) == pytest.approx(0.25, rel=1e-5)
    for arguments in ({}, {"reverse": True}):
        normal = svi.guide.laplace_approximation(svi.params, **arguments)
        expected = torch.tensor([1 / 30, 80 / 1200], dtype=D).sqrt().diag()
        torch.testing.assert_close(normal.scale_tril(svi.params), expected, rtol=1e-5, atol=1e-8)
    posterior = svi.sample(4000)
    assert posterior.pareto_k is not None
    assert posterior.pareto_k < 0.7
    assert abs(float(posterior["x"].log().std()) * np.sqrt(30) - 1) < 4 / np.sqrt(8000)


def test_a_heavy_tail_is_doubted():
    svi = trained(lambda: su.sample("x", dist.StudentT(number(1.0), 0.0, 1.0)), steps=300)
    with pytest.warns(DiagnosticWarning, match=r"Pareto k is .*, above 0\.7"):
        svi.sample(20_000)


def test_it_is_a_guide_without_parameters_that_later_training_does_not_move():
    x, y, mean, _ = regression.problem()
    svi = trained(regression.program, x, y)
    normal = svi.guide.laplace_approximation(svi.params)
    before = normal.median(svi.params)["w"]
    with torch.no_grad():
        svi.params.unconstrained["auto.loc"] += 1.0
    assert torch.equal(normal.median(svi.params)["w"], before)
    with su.ParamStore() as store, su.seed(rng_seed=0):
        drawn = normal(x, y)["w"]
    assert list(store) == []
    assert drawn.shape == mean.shape
    # A standard normal stretched by it is the posterior, which is what NeuTra makes of it.
    found = su.infer.reparam.NeuTraReparam(normal, svi.params).transport.onto
    torch.testing.assert_close(found(torch.zeros(3, dtype=D)), before)


def test_parameters_of_the_model_are_held_at_their_trained_values():
    """x ~ N(0, s) and y ~ N(x, 1) with s fitted; without a warning, since s has been trained."""

    def model():
        s = su.param("s", number(1.0), constraint=dist.constraints.positive)
        x = su.sample("x", dist.Normal(number(0.0), s))
        su.sample("y", dist.Normal(x, 1.0), obs=number(2.0))
        su.factor("penalty", -((s.log() - 0.5) ** 2) * 100)

    svi = trained(model)
    s = float(svi.params["s"].detach())
    assert abs(s - 1.0) > 0.3
    normal = svi.guide.laplace_approximation(svi.params)
    assert float(normal.scale_tril(svi.params)) == pytest.approx((1 + s**-2) ** -0.5, rel=1e-6)


def test_float32_programs():
    svi = trained(lambda: su.sample("x", dist.Normal(1.0, 3.0)))
    factor = svi.guide.laplace_approximation(svi.params).scale_tril(svi.params)
    assert factor.dtype == torch.float32
    assert float(factor) == pytest.approx(3.0, rel=1e-5)


class TestBadInput:
    def test_no_strict_mode_names_the_sites(self):
        def model():
            a, b = su.sample("a", dist.ImproperUniform()), su.sample("b", dist.ImproperUniform())
            c = su.sample("c", dist.Normal(0.0, 1.0))
            su.factor("f", -((a.double() + b - 1.0) ** 2) - c**2)

        svi = SVI(model, autoguide.AutoLaplaceApproximation(model), su.optim.Adam({"lr": 0.01}), seed=0)
        svi.run(100)
        told = r"needs a strict mode, .* does not fall along 'a', 'b'\. Train for more steps, or give the site a prior"
        with pytest.raises(GuideError, match=told):
            svi.guide.laplace_approximation(svi.params)
        with pytest.raises(GuideError, match=told):
            svi.sample(10)

    def test_a_saddle(self):
        def model():
            a = su.sample("a", dist.ImproperUniform())
            su.factor("f", (a.double() ** 2 - a.double() ** 4))

        svi = SVI(model, autoguide.AutoLaplaceApproximation(model), su.optim.Adam({"lr": 0.01}), seed=0)
        svi.run(1)
        with pytest.raises(GuideError, match="does not fall along 'a'"):
            svi.sample(10)

    def test_it_has_not_been_trained(self):
        guide = autoguide.AutoLaplaceApproximation(regression.program)
        with pytest.raises(GuideError, match="this AutoLaplaceApproximation has not been fitted yet: run SVI with it first"):
            guide.laplace_approximation(su.ParamStore())

    def test_other_sites_than_in_training(self):
        def model(y=None):
            mu = su.sample("mu", dist.Normal(number(0.0), 1.0))
            su.sample("y", dist.Normal(mu, 1.0), obs=y)

        svi = trained(model, number(2.0), steps=10)
        with pytest.raises(GuideError, match=r"has the latent coordinates 'mu' \(1\), 'y' \(1\) now, and had 'mu' \(1\) when"):
            svi.guide.laplace_approximation(svi.params, y=None)

    def test_in_a_list(self):
        guides = autoguide.AutoGuideList(regression.program)
        with pytest.raises(GuideError, match="cannot be part of an AutoGuideList. Use AutoMultivariateNormal"):
            guides.append(autoguide.AutoLaplaceApproximation(regression.program))
