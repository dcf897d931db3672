"""Workers that are killed at random moments: nothing is lost, and the draws equal those of a quiet run; and many studies."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tests.support.local_ray import local_ray
from tests.support.row_regression import X, Y, regression

import sursum as su

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")]

SETTINGS = {"num_warmup": 300, "num_samples": 3000, "num_chains": 2, "seed": 0, "progress": False}


@pytest.fixture(scope="module")
def undisturbed():
    return su.infer.MCMC(su.infer.NUTS(regression), **SETTINGS).run(X, Y)


def _noting(folder):
    """The program, which notes in which process it runs."""
    main = os.getpid()

    def noting(x, y):
        if os.getpid() != main:
            (folder / str(os.getpid())).touch()
        return regression(x, y)

    return noting


def _kill_some(folder, seed, over, killed):
    """Kill workers that have noted themselves, each once, after random times: two at most, for no block is lost to two."""
    rng, gone = np.random.default_rng(seed), set()
    while not over.wait(float(rng.uniform(0.02, 0.3))) and len(gone) < 2:
        alive = sorted({int(file.name) for file in folder.iterdir()} - gone)
        if alive:
            victim = int(rng.choice(alive))
            gone.add(victim)
            try:
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)
            except ProcessLookupError:
                pass


def _disturbed(place, seed, folder):
    over, killed = threading.Event(), []
    killer = threading.Thread(target=_kill_some, args=(folder, seed, over, killed))
    killer.start()
    try:
        return su.infer.MCMC(su.infer.NUTS(_noting(folder)), **SETTINGS, on=place).run(X, Y), killed
    finally:
        over.set()
        killer.join()


@pytest.mark.parametrize("seed", range(3))
def test_local_workers(undisturbed, seed, tmp_path):
    found, killed = _disturbed(su.cluster.Local(num_workers=2), seed, tmp_path)
    np.testing.assert_array_equal(found.unconstrained, undisturbed.unconstrained)
    assert killed


@pytest.fixture(scope="module")
def ray():
    with local_ray():
        yield su.cluster.Ray()


@pytest.mark.parametrize("seed", range(3))
def test_workers_of_ray(undisturbed, ray, seed, tmp_path):
    found, killed = _disturbed(ray, seed, tmp_path)
    np.testing.assert_array_equal(found.unconstrained, undisturbed.unconstrained)
    assert killed


def mean(y):
    with su.plate("data", len(y)):
        su.sample("y", su.distributions.Normal(su.sample("mu", su.distributions.Normal(0.0, 1.0)), 1.0), obs=y)


def test_a_hundred_studies_at_once():
    sets = [(torch.full((5,), k / 50.0),) for k in range(100)]
    place = su.cluster.Local(num_workers=2)
    mcmc = su.infer.MCMC(su.infer.NUTS(mean), num_warmup=100, num_samples=100, num_chains=1, seed=0, progress=False)

    def study(one):
        return su.infer.many(mcmc, [one], on=place, progress=False)["mu", "mean"][0]

    with ThreadPoolExecutor(100) as threads:
        found = list(threads.map(study, sets))
    alone = [su.infer.many(mcmc, [one], progress=False)["mu", "mean"][0] for one in sets[::25]]
    np.testing.assert_array_equal(found[::25], alone)
    assert np.isfinite(found).all()
