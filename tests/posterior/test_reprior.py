"""Other priors without another run, against exact posteriors: weighted where that can be trusted, else sampled again."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.core.calling import Program
from sursum.errors import PredictionError, PriorShapeError

Y = torch.tensor([0.3, 1.1, 0.7, 1.9, 0.2, 0.9, 1.4, 0.4], dtype=torch.float64)


def model(y: torch.Tensor) -> None:
    mu = su.param("mu", torch.tensor(0.0, dtype=torch.float64))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(mu, 1.0), obs=y)


LIFTED = su.lift(model, {"mu": dist.Normal(0.0, 1.0)})


def exact(mean: float, sd: float) -> tuple[float, float]:
    precision = 1 / sd**2 + len(Y)
    return float((mean / sd**2 + Y.sum()) / precision), precision**-0.5


@pytest.fixture(scope="module")
def posterior() -> su.Posterior:
    return su.infer.MCMC(su.infer.NUTS(LIFTED), num_samples=2000, seed=1, progress=False).run(Y)


@pytest.mark.parametrize(("mean", "sd"), [(0.5, 0.5), (-0.5, 1.5), (1.0, 0.3)])
def test_weighted_draws_have_the_exact_posterior(posterior: su.Posterior, mean: float, sd: float) -> None:
    found = posterior.reprior({"mu": dist.Normal(mean, sd)})
    m, s = exact(mean, sd)
    assert found.pareto_k is not None
    assert found.pareto_k < 0.7
    # 8,000 draws are worth at least 1,000 after autocorrelation and weights.
    z = (found["mu"].numpy() - m) / s
    assert abs(z.mean()) < 4 / 1000**0.5
    assert abs((z**2).mean() - 1) < 4 * (2 / 1000) ** 0.5
    assert "Weighted to other priors" in found.notes[-1]
    assert found.stats.keys() == {"lp"}
    assert found["mu"].shape == posterior["mu"].shape


def test_lp_is_the_log_density_of_the_program_with_the_new_prior(posterior: su.Posterior) -> None:
    found = posterior.reprior({"mu": dist.Normal(0.5, 0.5)})
    density = su.compile(su.reprior(LIFTED, {"mu": dist.Normal(0.5, 0.5)}), Y)
    for q, lp in zip(found.unconstrained[0, :5], found.stats["lp"][0, :5], strict=True):
        assert density.value_and_grad(q)[0] == pytest.approx(lp, abs=1e-9)


def test_the_same_prior_changes_nothing(posterior: su.Posterior) -> None:
    found = posterior.reprior({"mu": dist.Normal(0.0, 1.0)})
    assert torch.equal(found["mu"], posterior["mu"])
    assert "not defined" in found.notes[-1]


def test_a_distant_prior_is_sampled_again(posterior: su.Posterior) -> None:
    found = posterior.reprior({"mu": dist.Normal(-8.0, 0.05)})
    m, s = exact(-8.0, 0.05)
    z = (found["mu"].numpy() - m) / s
    assert abs(z.mean()) < 4 / 1000**0.5
    assert "Fitted again" in found.notes[-1]
    assert "Pareto k" in found.notes[-1] or "no draw is possible" in found.notes[-1]


def test_a_prior_with_another_support_is_sampled_again(posterior: su.Posterior) -> None:
    found = posterior.reprior({"mu": dist.HalfNormal(1.0)})
    assert "another support" in found.notes[-1]
    assert bool((found["mu"] > 0).all())


def test_hierarchies_scales_and_patterns() -> None:
    def program() -> None:
        tau = su.sample("top.tau", dist.HalfNormal(1.0))
        with su.handlers.scale(scale=2.0):
            su.sample("theta", dist.Normal(0.0, tau).expand([3]).to_event(1))

    rng = np.random.default_rng(0)
    q = rng.normal(size=(2, 50, 4))
    sites = {"top.tau": torch.from_numpy(np.exp(q[..., 0])), "theta": torch.from_numpy(q[..., 1:].copy())}
    posterior = su.Posterior(sites, {}, q, latents=("top.tau", "theta"), program=Program(program))
    found = posterior.log_prior()
    torch.testing.assert_close(found["top.tau"], torch.distributions.HalfNormal(1.0).log_prob(sites["top.tau"]))
    expected = torch.distributions.Normal(0.0, sites["top.tau"][..., None]).log_prob(sites["theta"]).sum(-1)
    torch.testing.assert_close(found["theta"], expected)
    assert "Weighted" in posterior.reprior({"top.*": dist.HalfNormal(0.9)}).notes[-1]


def test_what_cannot_be_done_is_said(posterior: su.Posterior) -> None:
    with pytest.raises(PredictionError, match="for no latent site.*'mu'"):
        posterior.reprior({"nu": dist.Normal(0.0, 1.0)})
    with pytest.raises(PriorShapeError):
        posterior.reprior({"mu": dist.Normal(torch.zeros(2), 1.0)})
    for loaded in (pickle.loads(pickle.dumps(posterior)), copy.deepcopy(posterior)):
        assert (loaded.refit is None) == (loaded.program is None)
    with pytest.raises(PredictionError, match="no program"):
        pickle.loads(pickle.dumps(posterior)).reprior({"mu": dist.Normal(0.0, 1.0)})
    fitted = su.infer.Laplace(LIFTED, seed=0).run(Y)
    with pytest.raises(PredictionError, match="another support.*not made by `MCMC.run`"):
        fitted.reprior({"mu": dist.HalfNormal(1.0)})
    assert "Weighted" in fitted.reprior({"mu": dist.Normal(0.5, 1.0)}).notes[-1]
