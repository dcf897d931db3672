"""What the prior predicts: exact moments of a normal program, and what is called absurd."""

from __future__ import annotations

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import PredictionError

X = torch.linspace(-2.0, 2.0, 50, dtype=torch.float64)


def line(x: torch.Tensor, y: torch.Tensor) -> None:
    slope = su.param("slope", torch.tensor(1.0, dtype=torch.float64))
    with su.plate("data", len(x)):
        su.sample("y", dist.Normal(slope * x, 1.0), obs=y)


def yes_or_no(x: torch.Tensor, y: torch.Tensor) -> None:
    slope = su.param("slope", torch.tensor(0.0, dtype=torch.float64))
    with su.plate("data", len(x)):
        su.sample("y", dist.Bernoulli(logits=slope * x), obs=y)


def test_moments_are_those_of_the_prior_predictive() -> None:
    lifted = su.lift(line, {"slope": dist.Normal(0.0, 3.0)})
    found = su.report(lifted, X, X).prior_predictive(num_samples=2000).sites["y"]
    # y = slope · x + ε: variance 9 mean(x²) + 1. It is the mean of 2,000 draws of slope², whose variance is 2 · 9².
    ms = float((X**2).mean())
    assert found.sd**2 == pytest.approx(9 * ms + 1, abs=4 * ms * 9 * (2 / 2000) ** 0.5 + 0.05)
    assert abs(found.mean) < 0.1
    assert found.data_mean == pytest.approx(0.0, abs=1e-12)
    assert found.data_sd == pytest.approx(ms**0.5)
    assert found.decided is None
    assert found.undefined == 0.0


def test_coefficients_too_wide_for_probabilities_are_said() -> None:
    wide = su.report(su.lift(yes_or_no, {"slope": dist.Normal(0.0, 1000.0)}), X, (X > 0).double()).prior_predictive()
    assert wide.sites["y"].decided is not None
    assert wide.sites["y"].decided > 0.9
    assert "are within 0.01 of 0 or 1" in wide.warnings[0]
    assert wide.warnings[0] in str(wide)
    narrow = su.report(su.lift(yes_or_no, {"slope": dist.Normal(0.0, 1.0)}), X, (X > 0).double()).prior_predictive()
    assert not narrow.warnings


def test_predictions_that_overflow_or_are_far_wider_than_the_data_are_said() -> None:
    def program(y: torch.Tensor) -> None:
        a = su.sample("a", dist.Normal(0.0, 1000.0))
        su.sample("y", dist.Normal(a.exp(), 1.0), obs=y)

    found = su.report(program, torch.tensor(1.0)).prior_predictive()
    assert "infinite or NaN" in found.warnings[0]
    far = su.report(su.lift(line, {"slope": dist.Normal(0.0, 1e4)}), X, X).prior_predictive()
    assert "times as wide as the data" in far.warnings[0]


def test_a_program_without_data_says_so() -> None:
    with pytest.raises(PredictionError, match="observes nothing"):
        su.report(lambda: su.sample("a", dist.Normal(0.0, 1.0))).prior_predictive()
