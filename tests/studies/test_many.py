"""Many data sets: closed forms, workers, failures, interruptions, and stores."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.paths import ROOT

import sursum as su
import sursum.distributions as dist
from sursum.cluster import Local
from sursum.errors import OptionError, SamplingError, StorageError, TransportError
from sursum.infer import MCMC, NUTS, many

N = 25


def model(y, scale=1.0):
    mu = su.sample("mu", dist.Normal(0.0, 10.0))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(mu, scale), obs=y)


def data_sets(count=6):
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(N, generator=rng, dtype=torch.float64) + k for k in range(count)]


SAMPLER = MCMC(NUTS(model), num_warmup=200, num_samples=300, num_chains=2, seed=3)


@pytest.fixture(scope="module")
def study():
    return many(SAMPLER, data_sets())


def test_each_posterior_is_that_of_its_data(study):
    precision = N + 0.01
    means = np.array([float(y.sum()) / precision for y in data_sets()])
    ess = np.minimum(study["mu", "ess_bulk"], 600)
    assert (ess > 100).all()
    # Five Monte-Carlo standard errors of a mean, over six data sets.
    np.testing.assert_array_less(np.abs(study["mu", "mean"] - means), 5 * precision**-0.5 / np.sqrt(ess))
    np.testing.assert_array_less(np.abs(study["mu", "sd"] * precision**0.5 - 1), 5 / np.sqrt(2 * ess))
    assert not study.failures
    assert len(study) == 6


def test_workers_and_other_data_change_nothing(study):
    elsewhere = many(SAMPLER, data_sets(), on=Local(num_workers=1))
    np.testing.assert_array_equal(elsewhere["mu", "mean"], study["mu", "mean"])
    np.testing.assert_array_equal(many(SAMPLER, data_sets(2))["mu", "mean"], study["mu", "mean"][:2])


def test_a_failure_does_not_end_the_others():
    bad = [{"y": data_sets()[0], "scale": 2.0}, (data_sets()[1], -1.0), ("text",)]
    study = many(SAMPLER, bad)
    assert list(study.failures) == [1, 2]
    assert "scale" in study.failures[1].message
    assert np.isnan(study["mu", "mean"][1:]).all()
    assert np.isfinite(study["mu", "mean"][0])
    with pytest.raises(SamplingError, match="data set 1 has no posterior: DensityError"):
        study[1]
    assert "2 failed, the first at 1" in str(study)


def test_an_interrupted_study_goes_on_from_its_store(study, tmp_path):
    calls = []

    def stops(y):
        calls.append(None)
        if y is None:
            raise KeyboardInterrupt
        return model(y)

    stopping = MCMC(NUTS(stops), num_warmup=200, num_samples=300, num_chains=2, seed=3)
    with pytest.raises(su.infer.StudyInterrupted) as stop:
        many(stopping, [*data_sets(3), None, None, None], store=tmp_path)
    assert sorted(stop.value.study.summaries) == [0, 1, 2]
    calls.clear()
    whole = many(stopping, data_sets(), store=tmp_path)
    np.testing.assert_array_equal(whole["mu", "mean"], study["mu", "mean"])
    # The first three were not sampled again; and changed data are.
    before = len(calls)
    calls.clear()
    many(stopping, data_sets(), store=tmp_path)
    assert 0 < len(calls) < before / 3  # of one data set the log density is looked at
    many(stopping, [data_sets()[0] + 1, *data_sets()[1:]], store=tmp_path)
    assert calls
    with pytest.raises(StorageError, match="a study with a different `seed`"):
        many(stopping, data_sets(), store=tmp_path, seed=4)


def tighter(y):
    mu = su.sample("mu", dist.Normal(0.0, 0.1))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(mu, 1.0), obs=y)


def renamed(y):
    nu = su.sample("nu", dist.Normal(0.0, 10.0))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(nu, 1.0), obs=y)


def test_a_store_is_of_one_program_and_its_settings(tmp_path):
    settings = {"num_warmup": 50, "num_samples": 50, "num_chains": 1, "seed": 3}
    first = many(MCMC(NUTS(model), **settings), data_sets(2), store=tmp_path)
    for program, why in (
        (tighter, "its log density at a draw is"),
        (renamed, "it has different unknowns"),
        (lambda: 0, "it raises"),
    ):
        with pytest.raises(StorageError, match=f"of a different program: for data set 0 {why}"):
            many(MCMC(NUTS(program), **settings), data_sets(2), store=tmp_path)
    for other in (MCMC(NUTS(model, target_accept=0.9), **settings), MCMC(su.infer.HMC(model), **settings)):
        with pytest.raises(StorageError, match="a different `kernel`"):
            many(other, data_sets(2), store=tmp_path)
    with pytest.raises(StorageError, match="a different `thin`"):
        many(MCMC(NUTS(model), **settings, thin=2), data_sets(2), store=tmp_path)
    again = many(MCMC(NUTS(lambda y: model(y)), **settings), data_sets(3), store=tmp_path)  # written otherwise
    np.testing.assert_array_equal(again["mu", "mean"][:2], first["mu", "mean"])


def test_what_cannot_be_done_is_said():
    with pytest.raises(SamplingError, match="`data_sets` is empty"):
        many(model, [])
    with pytest.raises(OptionError, match="`on` is"):
        many(model, data_sets(), on="ray")
    with pytest.raises(TransportError, match="item 0 cannot be sent"):
        many(model, [(number for number in range(3))], on=Local(num_workers=1))


def test_columns_and_numbers(study):
    assert study[-1]["mu"]["mean"] == study["mu", "mean"][5]
    with pytest.raises(SamplingError, match="no data set has a site 'nu'"):
        study["nu", "mean"]
    with pytest.raises(SamplingError, match="no column 'median'"):
        study["mu", "median"]
    with pytest.raises(SamplingError, match="data set 7 was not sampled"):
        study[7]
    vectors = many(lambda y: su.sample("z", dist.Normal(y, 1.0).to_event(1)), [torch.zeros(2), torch.zeros(3)], seed=0)
    with pytest.raises(SamplingError, match="depends on the data set"):
        vectors["z", "mean"]
    assert vectors[1]["z"]["mean"].shape == (3,)


SCRIPT = """
import sys
from tests.studies import test_many as these
these.many(these.SHORT, these.hundreds(), store=sys.argv[1], progress=False)
"""
SHORT = MCMC(NUTS(model), num_warmup=100, num_samples=100, num_chains=1, seed=3)
MANY = 400


def hundreds():
    """Of every fiftieth the scale is negative."""
    rng = torch.Generator().manual_seed(1)
    values = torch.randn(MANY, N, generator=rng, dtype=torch.float64)
    return [{"y": y + k / 100, "scale": -1.0 if k % 50 == 7 else 1.0} for k, y in enumerate(values)]


def resident():
    """Megabytes of this process."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_hundreds_of_data_sets_outlive_a_kill_in_bounded_memory(tmp_path):
    first = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=ROOT)
    while len(list(tmp_path.glob("part-*.npz"))) < MANY // 3:
        assert first.poll() is None
        time.sleep(0.1)
    first.kill()
    first.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("part-*.npz")}
    assert len(kept) < MANY
    before = resident()
    study = many(SHORT, hundreds(), store=tmp_path)
    # Some 270 posteriors of 25 rows: what one needs, and what is kept of each, a summary.
    assert resident() - before < 60.0
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("part-*.npz")}.items() >= kept.items()
    assert list(study.failures) == list(range(7, MANY, 50))
    good = np.array([k for k in range(MANY) if k not in study.failures])
    means = np.array([float(one["y"].sum()) / (N + 0.01) for one in hundreds()])[good]
    found, ess = study["mu", "mean"][good], np.minimum(study["mu", "ess_bulk"][good], 100.0)
    # Six Monte-Carlo standard errors: among four hundred the largest of a normal variable is within three and a half.
    np.testing.assert_array_less(np.abs(found - means), 6.0 * (N + 0.01) ** -0.5 / np.sqrt(ess))
    alone = many(SHORT, hundreds()[:20])["mu", "mean"]
    np.testing.assert_array_equal(alone, study["mu", "mean"][:20])
    elsewhere = many(SHORT, hundreds(), on=Local(num_workers=2))
    np.testing.assert_array_equal(elsewhere["mu", "mean"], study["mu", "mean"])
    assert list(elsewhere.failures) == list(study.failures)
