"""The forecast is arithmetic; the clock counts calls."""

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.compiler.benchmark import Benchmark


def vector(n):
    return lambda: su.sample("z", dist.Normal(torch.zeros(n, dtype=torch.float64), 1.0).to_event(1))


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_a_larger_program_takes_longer(engine):
    small, large = (su.compile(vector(n), engine=engine).benchmark() for n in (2, 200_000))
    assert small.engine == engine
    assert 0 < small.microseconds < large.microseconds


def test_a_forecast_adds_up():
    found = Benchmark("native", 100, 2.0)
    step, draw = 2.0 + 0.1 + 0.5, 0.5 + 2.0
    each = 10 * step + draw
    one = found.forecast(num_chains=1, num_warmup=500, num_samples=1500, steps_per_draw=10, cores=1)
    assert one == pytest.approx(2000 * each * 1e-6)
    five = found.forecast(num_chains=5, num_warmup=500, num_samples=1500, steps_per_draw=10, cores=2)
    assert five == pytest.approx(3 * one)
    slow = Benchmark("torch", 100, 2.0).forecast(num_chains=5, num_warmup=500, num_samples=1500, steps_per_draw=10, cores=2)
    assert slow == pytest.approx(5 * one)
    assert str(found).startswith("2 µs a gradient (native engine); about 0.08 s for 4 × (1000 + 1000) draws")
