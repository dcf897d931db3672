"""LOO-PIT where the predictions from the others are known in closed form, and beside ArviZ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

import sursum as su
import sursum.distributions as dist
from sursum.errors import PredictionError

Y = torch.randn(40, generator=torch.Generator().manual_seed(3)).double()


def normal(y, sd=1.0):
    mu = su.sample("mu", dist.Normal(0.0, 10.0))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(mu, sd), obs=y)


def sampled(model, *args):
    return su.infer.MCMC(su.infer.NUTS(model), num_samples=1000, num_warmup=300, seed=0, progress=False).run(*args)


@pytest.fixture(scope="module")
def posterior():
    return sampled(normal, Y)


def test_it_is_the_predictive_cdf_of_the_others(posterior):
    found = su.infer.loo_pit(posterior, seed=0)
    n = len(Y)
    precision = 1 / 100 + (n - 1)
    mean = (Y.sum() - Y) / precision
    exact = stats.norm.cdf(Y, mean, np.sqrt(1 + 1 / precision))
    # A share of 4,000 draws, nearly independent: its standard error is at most 0.5 / √2,000.
    assert np.abs(found.values["y"] - exact).max() < 4.5 * 0.5 / 2000**0.5
    assert found.p_values["y"] > 0.05
    assert (found.pareto_k["y"] < 0.7).all()
    assert "mean is near 0.5" in str(found)
    assert found._repr_html_().count("<tr>") == 2


def test_arviz_says_the_same(posterior):
    arviz = pytest.importorskip("arviz")
    data = posterior.with_groups(posterior_predictive=posterior.predict(seed=0)).to_arviz(log_likelihood=True)
    if not hasattr(arviz, "InferenceData"):
        pytest.skip("ArviZ 1.x has another signature")
    theirs = np.asarray(arviz.loo_pit(data, y="y"))
    np.testing.assert_allclose(su.infer.loo_pit(posterior, seed=0).values["y"], theirs, atol=1e-3)


def test_predictions_that_are_too_narrow_are_found():
    found = su.infer.loo_pit(sampled(normal, 3 * Y), seed=0)
    assert found.p_values["y"] < 0.01
    assert found.values["y"].std() > 0.33


def test_places_of_counts_are_uniform_too():
    """Without the random part, the places of counts that are mostly 0 would pile up."""

    def counts(y):
        rate = su.sample("rate", dist.Gamma(2.0, 2.0))
        with su.plate("data", len(y)):
            su.sample("y", dist.Poisson(rate), obs=y)

    y = torch.poisson(torch.full((200,), 0.4), generator=torch.Generator().manual_seed(5))
    assert (y == 0).double().mean() > 0.6
    assert su.infer.loo_pit(sampled(counts, y), seed=0).p_values["y"] > 0.05


def test_one_observation_is_not_uneven():
    found = su.infer.loo_pit(sampled(normal, Y[:1]), seed=0)
    assert found.values["y"].shape == (1,)
    assert found.p_values["y"] == 1.0


def test_without_a_seed_the_numbers_are_torchs(posterior):
    torch.manual_seed(1)
    one, two = su.infer.loo_pit(posterior), su.infer.loo_pit(posterior)
    torch.manual_seed(1)
    again = su.infer.loo_pit(posterior)
    np.testing.assert_array_equal(one.values["y"], again.values["y"])
    assert not np.array_equal(one.values["y"], two.values["y"])


def test_vectors_have_no_place(posterior):
    def pairs(y):
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        with su.plate("data", len(y)):
            su.sample("y", dist.Normal(mu, 1.0).expand([2]).to_event(1), obs=y)

    with pytest.raises(PredictionError, match="defined for single numbers"):
        su.infer.loo_pit(sampled(pairs, torch.zeros(3, 2)), seed=0)
    with pytest.raises(PredictionError):
        su.infer.loo_pit(su.Posterior({}, {}, np.zeros((1, 1, 0))), seed=0)


def test_the_picture(posterior):
    pytest.importorskip("matplotlib")
    assert [axes.get_title().split()[0] for axes in su.infer.loo_pit(posterior, seed=0).plot().axes] == ["y"]
