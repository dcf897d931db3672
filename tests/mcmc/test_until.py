"""Runs that end where a condition holds: the conditions, and that what is kept depends on the draws alone."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.draws.ess_rhat import mixing
from sursum.errors import DiagnosticWarning, SamplingError
from sursum.infer import ess, minutes, rhat
from sursum.mcmc.stopping import Ending, Stopping
from sursum.mcmc.until import Seen, Until


def program(y):
    mu = su.sample("mu", dist.Normal(0.0, 1.0))
    sigma = su.sample("sigma", dist.HalfNormal(1.0))
    su.sample("y", dist.Normal(mu, sigma).expand([4]).to_event(1), obs=y)


Y = torch.tensor([0.2, -0.4, 1.0, 0.3])


@pytest.fixture(scope="module")
def compiled():
    return su.compile(program, Y)


def run(compiled, **settings):
    options = {"num_warmup": 200, "num_samples": 4000, "num_chains": 2, "seed": 0, "progress": False, **settings}
    return su.infer.MCMC(su.infer.NUTS(program), **options).prepared(compiled)


def finished(compiled, **settings):
    work = run(compiled, **settings)
    work.work()
    return work.silently()


@pytest.fixture(scope="module")
def whole(compiled):
    return finished(compiled)


def smallest(draws):
    found = mixing(np.asarray(draws))
    return min(found.ess_bulk.min(), found.ess_tail.min())


def test_it_ends_where_the_condition_holds_first(compiled, whole):
    found = finished(compiled, until=ess(500) & rhat(1.05))
    n = found.num_samples
    assert n < whole.num_samples
    np.testing.assert_array_equal(found.unconstrained, whole.unconstrained[:, :n])
    assert smallest(found.unconstrained) >= 500
    assert smallest(whole.unconstrained[:, :100]) < 500
    assert not any("until" in text for text in found.warnings)
    assert found.notes == (f"The run ended after {n} of at most 4000 draws of each chain, where ess(500) & rhat(1.05) held.",)


@pytest.mark.parametrize("settings", [{"cores": 1}, {"thin": 1}, {"store": "run.zarr"}])
def test_what_is_kept_depends_on_the_draws_alone(compiled, settings, tmp_path):
    first = finished(compiled, until=ess(500))
    if "store" in settings:
        settings = {"store": tmp_path / "run.zarr"}
    other = finished(compiled, until=ess(500), **settings)
    np.testing.assert_array_equal(np.asarray(other.unconstrained), first.unconstrained)
    if "store" in settings:
        loaded = su.Posterior.load(tmp_path / "run.zarr")
        assert loaded.num_samples == first.num_samples
        assert (loaded.warnings, loaded.notes) == (first.warnings, first.notes)


def test_of_thinned_chains_the_kept_draws_count(compiled):
    found = finished(compiled, until=ess(300), thin=2)
    assert smallest(found.unconstrained) >= 300
    assert found.num_samples < 2000


def test_only_the_named_sites_count(compiled):
    found = finished(compiled, until=ess(400, sites=["mu"]))
    assert smallest(found.unconstrained[..., 0]) >= 400
    with pytest.raises(SamplingError, match="`until` names 'nu', which is not a latent site"):
        run(compiled, until=ess(400, sites=["nu"]) | minutes(1))


def test_a_condition_that_never_holds_is_said(compiled):
    work = run(compiled, until=ess(100000), num_samples=300)
    work.work()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = work.result()
    # Others, such as that of R-hat, depend on the draws.
    about = [warning for warning in said if "until" in str(warning.message)]
    assert [warning.category for warning in about] == [DiagnosticWarning]
    assert "`until=ess(100000)` did not hold within 300 draws of each chain" in str(about[0].message)
    assert found.num_samples == 300


class TimeIsUpAfterTheFirstLook(Until):
    """As `minutes`, of a clock that moves once there are draws: how fast the machine is does not count."""

    def __init__(self):
        self.looked = False

    def factor(self, seen):
        if seen.draws is not None:
            self.looked = True
            return np.inf
        return 1.0 if self.looked else np.inf

    def check(self, coordinates): ...


def test_time_ends_a_run(compiled):
    found = finished(compiled, until=TimeIsUpAfterTheFirstLook(), num_samples=10**7)
    assert 100 <= found.num_samples < 10**7
    assert "held by time" in found.notes[0]


def test_minutes_are_counted_from_the_seconds_of_a_run():
    ending = Ending(Stopping(ess(400) | minutes(0.5), ("mu",), 100), lambda: np.zeros((2, 0, 1)))
    assert not ending.reached(0, 29.9)
    assert not ending.late
    assert ending.reached(0, 30.1)
    assert ending.late


def test_conditions_are_combined():
    draws = np.random.default_rng(0).normal(size=(2, 200, 3))
    late, early = Seen(5.0, draws, ("a", "b", "c")), Seen(1.0, draws, ("a", "b", "c"))
    size = smallest(draws)
    low, high, time = ess(size), ess(2 * size), minutes(3)
    assert low.factor(early) == pytest.approx(1.0)
    assert high.factor(early) == pytest.approx(2.0)
    holds = {
        low & time: (False, True),
        high & time: (False, False),
        low | time: (True, True),
        high | time: (False, True),
        high & low | time: (False, True),
        high & (low | time): (False, False),
    }
    for condition, wanted in holds.items():
        assert (condition.factor(early) <= 1.0 + 1e-12, condition.factor(late) <= 1.0 + 1e-12) == wanted, condition
    assert repr(high & (low | time)).endswith(f"& (ess({size:g}) | minutes(3))")
    assert rhat(1.01).factor(Seen(1.0)) == np.inf
    assert rhat(1.01).factor(Seen(1.0, draws[:1])) == np.inf


def test_a_constant_coordinate_holds_nobody_up():
    draws = np.random.default_rng(0).normal(size=(2, 200, 2))
    draws[..., 1] = 3.0
    assert rhat(1.2).factor(Seen(0.0, draws, ("a", "b"))) < 1.0


@pytest.mark.parametrize(
    "wrong", [lambda: ess(0), lambda: ess("400"), lambda: rhat(1.0), lambda: minutes(-1), lambda: ess(9, sites="mu")]
)
def test_wrong_conditions(wrong):
    with pytest.raises(SamplingError, match="must be a"):
        wrong()


def test_something_else_is_no_condition():
    with pytest.raises(SamplingError, match="`until` is 400, but must be a condition: write `su.infer.ess"):
        su.infer.MCMC(su.infer.NUTS(program), until=400)
    with pytest.raises(TypeError):
        ess(400) & 3


@pytest.mark.slow
def test_the_ranks_of_runs_that_stop_themselves():
    """Simulation-based calibration: data from the prior, and the prior draw's rank among the draws that were kept.

    Stopping where the draws themselves look good biases them. Ranks among thirteen of them are uniform to within what 400
    data sets show.
    """
    rng, ranks = np.random.default_rng(0), []

    def normal(y):
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(mu, 1.0), obs=y)

    density = su.compile(normal, torch.tensor(0.0))
    for k in range(400):
        truth = rng.normal()
        data = density.with_data(torch.tensor(truth + rng.normal()))
        found = finished(data, until=ess(100) & rhat(1.05), num_warmup=150, num_samples=3000, seed=k)
        draws = found["mu"].flatten().numpy()
        ranks.append(int((draws[rng.choice(draws.size, 13, replace=False)] < truth).sum()))
    counts = np.bincount(ranks, minlength=14)
    expected = len(ranks) / 14
    # The 99.9 % quantile of χ² with 13 degrees of freedom.
    assert ((counts - expected) ** 2 / expected).sum() < 34.5
