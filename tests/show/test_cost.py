"""The cost of sampling: what is counted in a pilot, and what is forecast from it."""

from __future__ import annotations

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import PredictionError
from sursum.show.cost import Cost


def model(y: torch.Tensor) -> None:
    mu = su.sample("mu", dist.Normal(0.0, 1.0).expand([5]).to_event(1))
    su.deterministic("twice", 2 * mu)
    su.sample("y", dist.Normal(mu, 1.0).to_event(1), obs=y)


def test_a_pilot_counts_what_a_run_has() -> None:
    found = su.report(model, torch.zeros(5)).cost()
    assert found.unknowns == 5
    assert found.bytes_per_draw == 8 * (5 + 5 + 5)  # two sites, and the coordinates
    # Independent normals: a few steps a draw, and draws that are nearly independent.
    assert 1 <= found.steps_per_draw <= 15
    assert 0.3 < found.ess_per_draw <= 1.0
    assert found.step_us > 0.0
    assert "5 unknowns" in str(found)


def test_the_forecast_is_draws_times_steps_times_their_time() -> None:
    cost = Cost("native", 2, 0.5, 10.0, 7.0, 0.25, 100)
    # 400 / 0.25 / 4 = 400 draws after 1,000 of the warm-up, 7 steps of 10 µs each, two chains at a time, twice.
    assert cost.seconds_to(400.0, cores=2) == pytest.approx(0.5 + 1400 * 7 * 10e-6 * 2)
    assert cost.seconds_to(800.0, num_warmup=0, num_chains=1, cores=8) == pytest.approx(0.5 + 3200 * 7 * 10e-6)
    assert cost.bytes_of(500, num_warmup=100, num_chains=3) == 100 * 3 * 600
    assert "781 KiB" in str(cost)


def test_a_report_without_a_program_says_so() -> None:
    with pytest.raises(PredictionError, match="no program"):
        su.Report(()).cost()
