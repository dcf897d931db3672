"""Pathfinder against Gaussian posteriors in closed form and eight schools; seeds, threads, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchmarks.posteriordb.run import CASES
from tests.support import regression

import sursum as su
import sursum.distributions as dist
from sursum.errors import DensityError, DiagnosticWarning, OptimisationError
from sursum.infer.reparam import LocScaleReparam

Pathfinder = su.infer.Pathfinder
double = lambda value: torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize(("paths", "engine"), [(1, "native"), (4, "native"), (2, "torch")])
def test_a_gaussian_posterior(paths, engine):
    x, y, mean, covariance = regression.problem()
    found = Pathfinder(regression.program, num_paths=paths, num_samples=2000, seed=0, engine=engine).run(x, y)
    sd = np.sqrt(np.diag(covariance))
    draws = found["w"].flatten(0, 1).numpy()
    assert draws.shape == (2000, 3)
    # Resampled draws are worth those of the approximation that they are taken from, 1000 a path, at most.
    worth = min(2000, 1000 * paths) / 2
    assert (np.abs(draws.mean(0) - mean) < 4 * sd / np.sqrt(worth)).all()
    assert (np.abs(draws.std(0) / sd - 1) < 4 / np.sqrt(2 * worth)).all()
    assert not found.pareto_k > 0.7
    assert set(np.unique(found.stats["path"])) <= set(range(paths))


def test_discrete_sites_are_summed_out():
    """The same density as that of the mixture's family, and so the same draws."""
    y = double([-2.1, -1.8, 1.9, 2.3, 2.0, -2.2, 1.7])

    def mixture(sites):
        mu = su.sample("mu", dist.Normal(double([-1.0, 1.0]), 1.0).to_event(1))
        share = su.sample("share", dist.Beta(double(2.0), 2.0))
        which = dist.Categorical(torch.stack([1 - share, share]))
        with su.plate("data", len(y)):
            if sites:
                su.sample("y", dist.Normal(mu[su.sample("which", which)], 0.5), obs=y)
            else:
                su.sample("y", dist.MixtureSameFamily(which, dist.Normal(mu, 0.5)), obs=y)

    summed, family = (Pathfinder(mixture, num_samples=300, seed=0).run(sites) for sites in (True, False))
    assert "which" not in summed
    for name in ("mu", "share"):
        torch.testing.assert_close(summed[name], family[name], rtol=0, atol=1e-5)
    np.testing.assert_allclose(summed.stats["lp"], family.stats["lp"], rtol=0, atol=1e-5)


def test_the_weights_estimate_the_evidence():
    x, y, *_ = regression.problem()
    found = Pathfinder(regression.program, num_samples=500, seed=1).run(x, y)
    marginal = torch.distributions.MultivariateNormal(torch.zeros(20).double(), torch.eye(20) * 0.25 + 4.0 * x @ x.T)
    assert abs(np.median(found.stats["log_weight"]) - float(marginal.log_prob(y))) < 0.5


def eight_schools():
    effect, error = double([28.0, 8, -3, 7, -1, 1, 18, 12]), double([15.0, 10, 16, 11, 9, 11, 10, 18])
    mu = su.sample("mu", dist.Normal(double(0.0), 5.0))
    tau = su.sample("tau", dist.HalfCauchy(double(5.0)))
    with su.plate("school", 8):
        theta = su.sample("theta", dist.Normal(mu, tau))
        su.sample("y", dist.Normal(theta, error), obs=effect)


decentred = su.reparam(eight_schools, {"theta": LocScaleReparam(0.0)})


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_eight_schools():
    """Far from Gaussian, so an approximation only, which its k-hat says: means within 0.8 sd of the reference's, sds within
    a factor of 2."""
    (case,) = (case for case in CASES if case.name == "eight_schools-eight_schools_noncentered")
    rows = case.load()["reference"]
    found = Pathfinder(decentred, num_samples=2000, num_paths=8, seed=2).run()
    draws = {"mu": found["mu"], "tau": found["tau"]} | {f"theta[{i}]": found["theta"][..., i] for i in range(8)}
    for name, value in draws.items():
        assert abs(float(value.mean()) - rows[name]["mean"]) < 0.8 * rows[name]["sd"], name
        assert 0.5 < float(value.std()) / rows[name]["sd"] < 2, name
    assert found.dims["theta"] == ("school",)
    assert found.pareto_k > 0.7


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_a_seed_decides_whatever_the_threads():
    runs = [Pathfinder(decentred, num_samples=200, num_paths=3, seed=s, cores=c).run() for s, c in ((5, 1), (5, 2), (6, 2))]
    assert np.array_equal(runs[0].unconstrained, runs[1].unconstrained)
    assert not np.array_equal(runs[0].unconstrained, runs[2].unconstrained)
    assert runs[0].pareto_k == runs[1].pareto_k


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_a_path_is_the_same_whatever_their_number():
    """Both runs resample the thousand draws of path 0, so they have some of them in common."""
    one, two = (Pathfinder(decentred, num_samples=2000, num_paths=n, seed=5).run() for n in (1, 2))
    first = {row.tobytes() for row in one.unconstrained[0]}
    of_two = {row.tobytes() for row, path in zip(two.unconstrained[0], two.stats["path"][0], strict=True) if path == 0}
    assert len(first & of_two) > 20


def test_torchs_generator_is_left_alone():
    x, y, *_ = regression.problem()
    before = torch.random.get_rng_state()
    Pathfinder(regression.program, seed=0, num_paths=1).run(x, y)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_it_starts_around_init_and_starts_chains():
    fit = su.infer.Fit(decentred, jacobian=True).run()
    found = Pathfinder(decentred, init=fit, seed=0, num_paths=2).run()
    mcmc = su.infer.MCMC(su.infer.NUTS(decentred), num_warmup=200, num_samples=50, num_chains=2, seed=0, init=found)
    with pytest.warns(DiagnosticWarning):
        posterior = mcmc.run()
    assert posterior["theta"].shape == (2, 50, 8)


def test_two_modes_far_apart_are_doubted():
    """The tails of a Cauchy are out of the reach of any Gaussian."""

    def heavy():
        x = su.sample("x", dist.ImproperUniform())
        su.factor("tail", dist.StudentT(double(0.5), 0.0, 1.0).log_prob(x))

    with pytest.warns(DiagnosticWarning, match="Pareto k is .*, above 0.7") as caught:
        found = Pathfinder(heavy, seed=0, num_samples_per_path=4000).run()
    assert found.warnings == (str(caught[0].message),)
    assert caught[0].filename == __file__


class TestBadInput:
    @pytest.mark.parametrize(
        "name", ["num_samples", "num_paths", "num_samples_per_path", "num_elbo_samples", "num_steps", "history", "cores"]
    )
    def test_settings(self, name):
        with pytest.raises(OptimisationError, match=f"`{name}` is 0, but must be an integer of at least 1"):
            Pathfinder(decentred, **{name: 0})

    def test_seed_and_model(self):
        with pytest.raises(OptimisationError, match="`seed` is 1.5"):
            Pathfinder(decentred, seed=1.5)
        with pytest.raises(OptimisationError, match="`model` is 3, but must be a program"):
            Pathfinder(3)

    def test_a_discrete_site(self):
        with pytest.raises(DensityError, match="'k' .* is discrete"):
            Pathfinder(lambda: su.sample("k", dist.Poisson(1.0))).run()

    def test_a_subsampled_plate(self):
        def model():
            with su.plate("data", 10, subsample_size=2):
                su.sample("x", dist.Normal(0.0, 1.0))

        with pytest.raises(DensityError, match="plate 'data' .* is subsampled"):
            Pathfinder(model).run()

    def test_no_curvature(self):
        def model():
            x = su.sample("x", dist.ImproperUniform())
            su.factor("f", x.exp())

        with pytest.raises(OptimisationError, match="none of 2 paths has found a Gaussian"):
            Pathfinder(model, num_paths=2, num_steps=5, seed=0).run()
