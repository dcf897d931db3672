"""A run that was cut short goes on from its store: bit for bit the run that was not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.draws.chain_states import FOLDER, read_states
from sursum.errors import EngineWarning, SamplingError, StorageError
from sursum.posterior.posterior import Posterior

pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")

Y = torch.linspace(-1.0, 2.0, 100_000, dtype=torch.float64)  # so many that a run takes long enough to be cut short


def model(y):
    z = su.sample("z", dist.Normal(torch.zeros(2, dtype=torch.float64), 10.0).to_event(1))
    su.deterministic("double", 2.0 * z)
    su.sample("y", dist.Normal(z[0], z[1].exp()).expand(y.shape).to_event(1), obs=y)


def mcmc(**settings):
    usual = {"num_warmup": 150, "num_samples": 1200, "num_chains": 2, "seed": 5, "progress": False}
    return su.infer.MCMC(su.infer.NUTS(model), **{**usual, **settings})


def same(one: Posterior, other: Posterior) -> None:
    for a, b in ((one, other), (one.warmup, other.warmup)):
        np.testing.assert_array_equal(a.unconstrained, b.unconstrained)
        for name in b.stats:
            np.testing.assert_array_equal(a.stats[name], b.stats[name])
        assert torch.equal(torch.as_tensor(a["double"]), torch.as_tensor(b["double"]))


def stopped(path: Path, **settings: object) -> None:
    """A run with a store, stopped on its way."""
    run = mcmc(store=path, **settings).start(Y)
    while sum(chain.draws for chain in run.progress) < 400:
        time.sleep(0.0005)
    with pytest.raises(StorageError, match="is being written by this process, and only one run at a time"):
        mcmc().resume(path, Y)
    run.stop()


@pytest.mark.parametrize("thin", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_a_stopped_run_becomes_the_one_that_was_not(tmp_path, thin):
    path = tmp_path / "run.zarr"
    stopped(path, thin=thin, cores=2)
    before = Posterior.load(path)
    assert before.warnings[0].startswith("The run was stopped")
    found = mcmc(cores=1, num_samples=5).resume(path, Y)
    same(found, mcmc(thin=thin).run(Y))
    assert not any(text.startswith("The run") for text in found.warnings)
    same(mcmc().resume(path, Y), found)  # which is complete: nothing is added


KILLED = """
import sys, torch, sursum as su
sys.path.insert(0, sys.argv[2])
from test_stored_run import mcmc, Y
if len(sys.argv) > 3:
    mcmc(cores=1).resume(sys.argv[1], Y)
else:
    mcmc(store=sys.argv[1], cores=1).run(Y)
"""


@pytest.mark.parametrize("after", [0.0, pytest.param(0.3, marks=pytest.mark.slow)])
def test_a_killed_run_becomes_the_one_that_was_not(tmp_path, after):
    path = tmp_path / "run.zarr"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent)])
    patience = time.monotonic() + 60
    while len(read_states(path, 2)) < 2:
        assert time.monotonic() < patience
        assert process.poll() is None
        time.sleep(0.002)
    time.sleep(after)
    with pytest.raises(StorageError, match=f"is being written by process {process.pid}, and only one run at a time"):
        mcmc().resume(path, Y)
    process.send_signal(signal.SIGKILL)
    process.wait()
    same(mcmc().resume(path, Y), mcmc().run(Y))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_run_that_is_killed_again_and_again_becomes_the_one_that_was_not(tmp_path, seed):
    """At random moments from the first stored state on, in the warm-up and after it, and while it goes on from a store."""
    path, rng = tmp_path / "run.zarr", np.random.default_rng(seed)
    arguments = [sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent)]
    for again in range(3):
        before = read_states(path, 2)
        process = subprocess.Popen([*arguments, *(["resume"] if again else [])])
        patience = time.monotonic() + 120
        while process.poll() is None and read_states(path, 2) == before:
            assert time.monotonic() < patience
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.8))
        process.send_signal(signal.SIGKILL)
        process.wait()
    same(mcmc().resume(path, Y), mcmc().run(Y))


def test_what_cannot_be_resumed_says_why(tmp_path):
    path = tmp_path / "run.zarr"
    stopped(path)
    with pytest.raises(SamplingError, match="not one of these data"):
        mcmc().resume(path, Y + 1.0)
    other = su.infer.NUTS(lambda y: su.sample("other", dist.Normal(y.sum(), 1.0)))
    with pytest.raises(SamplingError, match="not one of this program"):
        su.infer.MCMC(other, progress=False).resume(path, Y)
    (path / FOLDER / "1").unlink()
    with pytest.raises(StorageError, match=r"cannot be resumed: the states .+ `mcmc.extend"):
        mcmc().resume(path, Y)


def test_elsewhere_it_goes_on_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    stopped(path, num_chains=1)
    before = Posterior.load(path).num_samples
    monkeypatch.setattr("sursum.mcmc.stored_run.machine", lambda: "another one")
    with pytest.warns(EngineWarning, match="begun by another engine"):
        found = mcmc().resume(path, Y)
    assert found.num_samples == 1200 > before
