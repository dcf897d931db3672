"""Chains at workers: the same draws as in this process, also when workers are killed; stores, stopping and errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from tests.support.local_ray import local_ray
from tests.support.row_regression import X, Y, regression

import sursum as su
import sursum.distributions as dist
from sursum.cluster import Local
from sursum.errors import SamplingError, StorageError, TransportError
from sursum.infer import MCMC, NUTS, DiscreteGibbs

SETTINGS = {"num_warmup": 120, "num_samples": 150, "num_chains": 2, "seed": 0, "progress": False}
WORKERS = Local(num_workers=1)  # which has blocks of both chains in turn

pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")


@pytest.fixture(scope="module")
def here():
    return MCMC(NUTS(regression), **SETTINGS).run(X, Y)


def same(one, other):
    np.testing.assert_array_equal(one.unconstrained, other.unconstrained)
    np.testing.assert_array_equal(one.warmup.unconstrained, other.warmup.unconstrained)
    for name, values in one.stats.items():
        np.testing.assert_array_equal(values, other.stats[name])


def test_the_draws_are_those_of_this_process(here):
    same(MCMC(NUTS(regression), **SETTINGS, on=WORKERS).run(X, Y), here)


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_a_block(here, tmp_path):
    main = os.getpid()

    def deadly(x, y):
        if os.getpid() != main and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return regression(x, y)

    same(MCMC(NUTS(deadly), **SETTINGS, on=WORKERS).run(X, Y), here)
    assert (tmp_path / "killed").exists()


@pytest.mark.slow
def test_a_stored_run_is_stopped_and_resumed(here, tmp_path):
    long = SETTINGS | {"num_samples": 3000}
    whole = MCMC(NUTS(regression), **long).run(X, Y)
    run = MCMC(NUTS(regression), **long, on=WORKERS, store=tmp_path / "run.zarr").start(X, Y)
    while min(chain.draws for chain in run.progress) < 200:
        assert not run.wait(0.001)
    assert run.stop().num_samples < 3000
    there = su.Posterior.load(tmp_path / "run.zarr").unconstrained
    np.testing.assert_array_equal(there, whole.unconstrained[:, : there.shape[1]])
    resumed = MCMC(NUTS(regression), **SETTINGS, on=WORKERS).resume(tmp_path / "run.zarr", X, Y)
    np.testing.assert_array_equal(resumed.unconstrained, whole.unconstrained)


LONG = SETTINGS | {"num_samples": 4000}


def test_a_run_at_workers_ends_where_a_condition_holds():
    until = su.infer.ess(300)
    whole = MCMC(NUTS(regression), **LONG, until=until).run(X, Y)
    assert 150 < whole.num_samples < 4000
    same(MCMC(NUTS(regression), **LONG, until=until, on=WORKERS).run(X, Y), whole)


@pytest.mark.slow
def test_pause_rests_at_workers_and_resume_goes_on_with_the_same_draws():
    long = SETTINGS | {"num_samples": 500_000}
    run = MCMC(NUTS(regression), **long, on=WORKERS).start(X, Y)
    while min(chain.draws for chain in run.progress) < 200:
        assert not run.wait(0.001)
    run.pause()
    before, now = None, run.progress
    while now != before:  # what was under way is handed over
        run.wait(1.0)
        before, now = now, run.progress
    assert run.state == "paused"
    assert not run.wait(0.5)
    assert run.progress == now
    run.resume()
    while run.progress == now:
        assert not run.wait(0.001)
    found = run.stop()
    assert 80 < found.num_samples < 500_000
    same(found, MCMC(NUTS(regression), **SETTINGS | {"num_samples": found.num_samples}).run(X, Y))


INTERRUPTED = """
import json, sys, warnings
import sursum as su
from tests.support.row_regression import X, Y, regression

warnings.simplefilter("ignore")
settings = dict(num_warmup=120, num_samples=1_000_000, num_chains=2, seed=0, progress=False, store=sys.argv[1])
mcmc = su.infer.MCMC(su.infer.NUTS(regression), on=su.cluster.Local(num_workers=2), **settings)
try:
    mcmc.run(X, Y)
except su.infer.Interrupted as stop:
    q = stop.posterior.unconstrained
    print(json.dumps([list(q.shape), q[:, :150].tolist(), stop.posterior.warnings[0]]))
"""


def stored(store):
    try:
        return su.Posterior.load(store).num_samples
    except StorageError:
        return 0


@pytest.mark.slow
def test_ctrl_c_at_a_terminal_ends_the_run_and_keeps_its_draws(here, tmp_path):
    """It goes to the workers too, which are not to die of it."""
    store = tmp_path / "run.zarr"
    command = [sys.executable, "-c", INTERRUPTED, str(store)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with process:
        while process.poll() is None and stored(store) < 150:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        shape, draws, said = json.loads(process.stdout.read().splitlines()[-1])
    assert process.returncode == 0
    assert 150 <= shape[1] < 1_000_000
    assert said.startswith("The run was interrupted")
    np.testing.assert_array_equal(draws, here.unconstrained)


def counts(y):
    """Trials of which only the successes are seen: how many there were cannot be summed out."""
    p = su.sample("p", dist.Beta(8.0, 8.0))
    with su.plate("place", len(y)):
        n = su.sample("n", dist.Poisson(6.0))
        su.sample("y", dist.Binomial(n, p), obs=y)


SEEN = torch.tensor([2.0, 0.0, 5.0])


@pytest.mark.slow
def test_discrete_sites_are_drawn_at_workers_too():
    whole = MCMC(DiscreteGibbs(NUTS(counts)), **SETTINGS).run(SEEN)
    there = MCMC(DiscreteGibbs(NUTS(counts)), **SETTINGS, on=WORKERS).run(SEEN)
    same(there, whole)
    assert torch.equal(there["n"], whole["n"])
    assert len(whole["n"].unique()) > 5


@pytest.mark.slow
def test_ray_gives_the_same_draws(here):
    with local_ray():
        same(MCMC(NUTS(regression), **SETTINGS, on=su.cluster.Ray()).run(X, Y), here)
        gibbs = DiscreteGibbs(NUTS(counts))
        same(MCMC(gibbs, **SETTINGS, on=su.cluster.Ray()).run(SEEN), MCMC(gibbs, **SETTINGS).run(SEEN))


def test_what_cannot_be_done_is_said():
    lock = threading.Lock()

    def locked(x, y):
        with lock:
            regression(x, y)

    with pytest.raises(TransportError, match="`model.lock`, which is a lock"):
        MCMC(NUTS(locked), **SETTINGS, on=WORKERS).run(X, Y)
    with pytest.raises(SamplingError, match="`on` is 'ray'"):
        MCMC(NUTS(regression), on="ray")


@pytest.mark.slow
def test_what_a_program_raises_there_is_raised_here():
    main = os.getpid()

    def fails(x, y):
        if os.getpid() != main:
            raise ZeroDivisionError("elsewhere")
        regression(x, y)

    with pytest.raises(ZeroDivisionError, match="elsewhere"):
        MCMC(NUTS(fails), **SETTINGS, on=WORKERS).run(X, torch.clone(Y))
