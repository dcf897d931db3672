"""Prior sensitivity: ArviZ's numbers on our groups, exact power-scaling of a normal model, and what is said about them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.posterior.prior_sensitivity import LIMIT, PriorSensitivity

Y = torch.full((10,), 3.0, dtype=torch.float64)


def fitted(mean: float, sd: float) -> su.Posterior:
    def model(y: torch.Tensor) -> None:
        mu = su.sample("mu", dist.Normal(mean, sd))
        with su.plate("data", len(y)):
            su.sample("y", dist.Normal(mu, 1.0), obs=y)

    return su.infer.MCMC(su.infer.NUTS(model), num_samples=1500, seed=0, progress=False).run(Y)


def test_a_wide_prior_does_not_matter_and_one_far_from_the_data_does() -> None:
    wide, far = fitted(0.0, 30.0).prior_sensitivity(), fitted(0.0, 0.5).prior_sensitivity()
    assert wide.prior["mu"] < LIMIT < wide.likelihood["mu"]
    assert wide.verdict("mu") == ""
    assert far.prior["mu"] > LIMIT
    assert far.verdict("mu") == "prior-data conflict"
    assert "prior-data conflict" in str(far)


def test_a_prior_alone_moves_the_posterior_where_data_are_weak() -> None:
    found = PriorSensitivity({"a": np.array([0.2, 0.01])}, {"a": np.array([0.01, 0.3])})
    assert [found.verdict("a", (i,)) for i in (0, 1)] == ["strong prior or weak data", ""]
    assert "a[0]" in str(found)


def test_only_the_priors_asked_for_are_scaled() -> None:
    def model() -> None:
        tau = su.sample("tau", dist.HalfNormal(1.0))
        with su.plate("groups", 4):
            theta = su.sample("theta", dist.Normal(0.0, tau))
            su.sample("y", dist.Normal(theta, 0.1), obs=torch.tensor([1.0, -1.0, 0.5, -0.3], dtype=torch.float64))

    posterior = su.infer.MCMC(su.infer.NUTS(model), num_samples=500, seed=0, progress=False).run()
    both, top = posterior.prior_sensitivity(), posterior.prior_sensitivity(["tau"], prior=["tau"])
    assert list(top.prior) == ["tau"]
    assert both.prior["theta"].shape == (4,)
    assert top.prior["tau"] != both.prior["tau"]
    data = posterior.to_arviz(log_likelihood=True, log_prior=True)
    assert set(data["log_prior"].data_vars) == {"tau", "theta"}


def test_the_picture_names_what_is_high() -> None:
    pytest.importorskip("matplotlib")
    found = PriorSensitivity(
        {"a": np.array([0.2, 0.01]), "b": np.array(0.02)}, {"a": np.array([0.3, 0.3]), "b": np.array(0.01)}
    )
    axes = found.plot().axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert "a[0]" in texts
    assert not {"a[1]", "b"} & set(texts)
