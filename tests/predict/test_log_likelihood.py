"""The pointwise log-likelihood, against torch's own log densities."""

from __future__ import annotations

import pytest
import torch
import torch.distributions as td
from tests.support.line import LIFTED, X, by_hand
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.errors import PredictionError
from sursum.infer import log_likelihood
from sursum.predict import vectorise

Y = 2.0 * X + 0.3


def some() -> su.Posterior:
    generator = torch.Generator().manual_seed(0)
    return by_hand(slope=torch.randn(2, 30, generator=generator), sigma=torch.rand(2, 30, generator=generator) + 0.5)


@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_it_is_the_log_density_of_each_observation(chunk: int | None) -> None:
    posterior = some()
    found = log_likelihood(LIFTED, posterior, X, Y, chunk=chunk)
    expected = td.Normal(posterior["slope"][..., None] * X, posterior["sigma"][..., None]).log_prob(Y)
    assert list(found) == ["y"]
    assert found["y"].shape == (2, 30, 6)
    assert found["y"].dtype == torch.float64
    torch.testing.assert_close(found["y"], expected.double(), rtol=1e-5, atol=1e-5)


def test_a_posterior_knows_its_data() -> None:
    posterior = some()
    assert torch.equal(posterior.log_likelihood()["y"], log_likelihood(LIFTED, posterior, X, torch.zeros(6))["y"])
    assert torch.equal(posterior.log_likelihood(X, Y)["y"], log_likelihood(LIFTED, posterior, X, Y)["y"])


def test_one_by_one_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = log_likelihood(LIFTED, some(), X, Y)["y"]
    monkeypatch.setattr(vectorise, "_map", lambda *args: None)
    torch.testing.assert_close(log_likelihood(LIFTED, some(), X, Y)["y"], fast)


def test_discrete_observations_events_masks_scales_and_plates() -> None:
    counts = torch.tensor([0.0, 3.0, 5.0])
    pairs = torch.tensor([[0.0, 1.0], [2.0, 0.5], [1.0, 1.0]])
    kept = torch.tensor([True, False, True])

    def program() -> None:
        rate = su.sample("rate", dist.Gamma(2.0, 1.0))
        with su.plate("data", 3, subsample_size=2) as present:
            assert present.shape == (3,)
            su.sample("count", dist.Poisson(rate), obs=counts)
            with su.handlers.scale(scale=7.0):
                su.sample("pair", dist.Normal(rate, torch.ones(2)).to_event(1), obs=pairs)
            with su.handlers.mask(mask=kept):
                su.sample("masked", dist.Normal(rate, 1.0), obs=counts)

    rate = torch.tensor([0.5, 1.0, 4.0])
    found = log_likelihood(program, {"rate": rate})
    wide = rate[:, None]
    torch.testing.assert_close(found["count"].float(), td.Poisson(wide).log_prob(counts))
    torch.testing.assert_close(found["pair"].float(), td.Normal(wide[..., None], 1.0).log_prob(pairs).sum(-1))
    torch.testing.assert_close(found["masked"].float(), td.Normal(wide, 1.0).log_prob(counts) * kept)


def test_nothing_observed() -> None:
    with pytest.raises(PredictionError, match=r"observes nothing with these arguments.*Call it with its data"):
        log_likelihood(lambda: su.sample("mu", dist.Normal(0.0, 1.0)), {"mu": torch.ones(3)})
    with pytest.raises(PredictionError, match=r"site 'y' .* is neither observed nor among .* Call the program with its data"):
        log_likelihood(LIFTED, some(), X)


def test_a_latent_site_without_draws() -> None:
    def program(y: Tensor) -> None:
        su.sample("y", dist.Normal(su.sample("other", dist.Normal(0.0, 1.0)), 1.0), obs=y)

    with pytest.raises(PredictionError, match=r"site 'other' .* is neither observed nor among the posterior samples"):
        log_likelihood(program, {"slope": torch.ones(3)}, torch.ones(2))


def test_it_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    log_likelihood(LIFTED, some(), X, Y)
    assert torch.equal(torch.get_rng_state(), before)
