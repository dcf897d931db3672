"""Laplace's approximation: exact for Gaussian posteriors, judged where they are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.support import regression

import sursum as su
import sursum.distributions as dist
from sursum.errors import DensityError, DiagnosticWarning, HeldParameterWarning, OptimisationError
from sursum.optimise.laplace import find_mode

double = lambda value: torch.tensor(value, dtype=torch.float64)


def test_a_gaussian_posterior_is_met_exactly():
    x, y, mean, covariance = regression.problem()
    mode, bend = find_mode(su.compile(regression.program, x, y), None, 100)
    np.testing.assert_allclose(mode.point.q, mean, rtol=1e-8)
    np.testing.assert_allclose(bend.factor @ bend.factor.T, covariance, rtol=1e-7)


def test_draws_of_a_gaussian_posterior():
    x, y, mean, covariance = regression.problem()
    posterior = su.infer.Laplace(regression.program, num_samples=4000, seed=1).run(x, y)
    sd = np.sqrt(np.diag(covariance))
    draws = posterior["w"].flatten(0, 1).numpy()
    assert draws.shape == (4000, 3)
    assert (np.abs(draws.mean(0) - mean) < 4 * sd / np.sqrt(4000)).all()
    assert (np.abs(draws.std(0) / sd - 1) < 4 / np.sqrt(2 * 4000)).all()
    # All weights are the evidence: the marginal density of y is a Gaussian, too.
    marginal = torch.distributions.MultivariateNormal(torch.zeros(20).double(), torch.eye(20) * 0.25 + 4.0 * x @ x.T)
    np.testing.assert_allclose(posterior.stats["log_weight"], float(marginal.log_prob(y)), rtol=1e-7)
    assert posterior.warnings == ()
    assert "There is no Pareto k: the weights are all equal" in str(posterior.summary())


def test_a_constrained_site_is_gaussian_in_its_coordinates():
    """Gamma(a, b) by q = log x: mode at log(a / b), curvature a."""
    posterior = su.infer.Laplace(lambda: su.sample("x", dist.Gamma(double(30.0), 2.0)), num_samples=4000, seed=0).run()
    logs = posterior["x"].log().numpy()
    assert abs(logs.mean() - np.log(15.0)) < 4 / np.sqrt(30 * 4000)
    assert abs(logs.std() * np.sqrt(30) - 1) < 4 / np.sqrt(8000)
    assert posterior.pareto_k is not None
    assert posterior.pareto_k < 0.7
    assert f"Pareto k is {posterior.pareto_k:.2f}." in str(posterior.summary())


def test_a_heavy_tail_is_doubted():
    def cauchy():
        x = su.sample("x", dist.ImproperUniform())
        su.factor("tail", dist.StudentT(double(1.0), 0.0, 1.0).log_prob(x))

    with pytest.warns(DiagnosticWarning, match="Pareto k is .*, above 0.7") as caught:
        posterior = su.infer.Laplace(cauchy, seed=0, num_samples=4000).run()
    assert posterior.warnings == (str(caught[0].message),)
    assert caught[0].filename == __file__
    assert posterior.warnings[0] in str(posterior.summary())


def test_a_seed_decides_and_torchs_generator_is_left_alone():
    x, y, *_ = regression.problem()
    before = torch.random.get_rng_state()
    first, again, other = (su.infer.Laplace(regression.program, num_samples=5, seed=s).run(x, y)["w"] for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_it_is_saved_with_its_judgement(tmp_path):
    posterior = su.infer.Laplace(lambda: su.sample("x", dist.Gamma(double(3.0), 2.0)), num_samples=200, seed=0).run()
    posterior.save(tmp_path / "laplace")
    loaded = su.Posterior.load(tmp_path / "laplace")
    assert loaded.pareto_k == posterior.pareto_k
    assert torch.equal(loaded["x"], posterior["x"])


def labels(y):
    """All of whose sites are summed out, and a constant."""
    a = su.sample("a", dist.Bernoulli(0.4))
    su.deterministic("two", double(2.0))
    with su.plate("rows", len(y)):
        b = su.sample("b", dist.Categorical(torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])[a.long()]))
        su.sample("y", dist.Normal(a + b, 1.0), obs=y)


def test_a_program_of_discrete_sites_alone_has_its_exact_posterior():
    y = double([0.5, -1.0, 1.5])
    posterior = su.infer.Laplace(labels, num_samples=4000, seed=0).run(y)
    weights = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    seen = np.exp(dist.Normal(double([0.0, 1.0, 2.0]) + double([[0.0], [1.0]]), 1.0).log_prob(y[:, None, None]).numpy())
    of_each = np.array([0.6, 0.4]) * (weights * seen).sum(-1).prod(0)
    assert posterior.log_evidence == pytest.approx(np.log(of_each.sum()), rel=1e-6)
    assert list(posterior) == ["two"]
    assert posterior["two"].shape == (1, 4000)
    assert posterior.pareto_k is None
    share = of_each[1] / of_each.sum()
    assert su.infer.discrete_probabilities(posterior)["a"][0, 0].tolist() == pytest.approx([1.0 - share, share], rel=1e-6)
    drawn = su.infer.infer_discrete(posterior, seed=0)
    assert abs(float(drawn["a"].mean()) - share) < 4.0 * np.sqrt(share * (1.0 - share) / 4000)
    best = su.infer.infer_discrete(posterior, temperature=0)
    assert (float(best["a"][0, 0]), best["b"][0, 0].tolist()) == (1.0, [0, 0, 0])
    assert drawn.predict(seed=0)["y"].shape == (1, 4000, 3)


def test_and_no_other_method_has_anything_to_do():
    y = double([0.5])
    said = r"every latent site .* summed out, 'a', 'b'.*infer_discrete\(su.infer.Laplace\(model.*sites=\['a', 'b'\]"
    for method in (su.infer.MCMC(su.infer.NUTS(labels)), su.infer.Fit(labels), su.infer.Pathfinder(labels)):
        with pytest.raises(DensityError, match=said):
            method.run(y)
    assert float(su.infer.LogDensity(labels, (y,))(torch.empty(0))) == su.infer.Laplace(labels).run(y).log_evidence


def test_data_that_are_impossible_whatever_the_discrete_sites():
    def model():
        z = su.sample("z", dist.Bernoulli(0.5))
        su.factor("never", torch.where(z < 0.0, 0.0, -torch.inf))

    with pytest.raises(OptimisationError, match="the data are impossible"):
        su.infer.Laplace(model).run()


class TestBadInput:
    def test_no_strict_mode(self):
        def model():
            a, b = su.sample("a", dist.ImproperUniform()), su.sample("b", dist.ImproperUniform())
            su.factor("f", -((a.double() + b - 1.0) ** 2))

        with pytest.raises(OptimisationError, match=r"needs a strict mode, .* does not fall along 'a', 'b'\. Give"):
            su.infer.Laplace(model).run()

    def test_no_mode(self):
        with pytest.raises(OptimisationError, match=r"Laplace's approximation needs the mode\. Not converged"):
            su.infer.Laplace(lambda: su.factor("f", su.sample("a", dist.ImproperUniform()))).run()

    def test_settings(self):
        model = lambda: su.sample("x", dist.Normal(0.0, 1.0))
        with pytest.raises(OptimisationError, match="`num_samples` is 0"):
            su.infer.Laplace(model, num_samples=0)
        with pytest.raises(OptimisationError, match="`seed` is -1"):
            su.infer.Laplace(model, seed=-1)
        with pytest.raises(OptimisationError, match="`num_steps` is 0"):
            su.infer.Laplace(model, num_steps=0)

    def test_a_discrete_site(self):
        with pytest.raises(DensityError, match="'k' .* is discrete"):
            su.infer.Laplace(lambda: su.sample("k", dist.Poisson(1.0))).run()

    def test_parameters_are_held(self):
        def model():
            su.sample("x", dist.Normal(su.param("m", double(3.0)), 1.0))

        with pytest.warns(HeldParameterWarning, match="'m' is not lifted"):
            posterior = su.infer.Laplace(model, num_samples=2000, seed=0).run()
        assert abs(float(posterior["x"].mean()) - 3.0) < 4 / np.sqrt(2000)
