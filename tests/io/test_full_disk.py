"""A disk that is full: the error names the file, and what was finished stays."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from tests.support.paths import ROOT
from tests.support.row_regression import X, Y, regression

import sursum as su

pytestmark = pytest.mark.slow

LIMITED = """
import resource, signal, sys, warnings
warnings.simplefilter("ignore")
import sursum as su
from tests.support.row_regression import X, Y, regression

def limit(size):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write that is too long is an error then, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

folder = sys.argv[1]
"""

STORE = """
def is_written():
    try:
        return su.Posterior.load(folder + "/run.zarr").num_samples > 0
    except su.errors.StorageError:
        return False  # not yet

mcmc = su.infer.MCMC(
    su.infer.NUTS(regression), num_warmup=100, num_samples=1_000_000, num_chains=2, seed=0, progress=False,
    store=folder + "/run.zarr",
)
run = mcmc.start(X, Y)
while not is_written():
    run.wait(0.01)
limit(100)
run.result()
"""

CHECKPOINT = """
svi = su.infer.SVI(
    regression, su.infer.autoguide.AutoNormal(regression), su.optim.Adam(lr=0.01), seed=0, checkpoint=folder + "/svi.npz",
    checkpoint_every=1000,
)
svi.run(1000, X, Y)
limit(20_000)  # a file of 1,000 losses fits, one of 4,000 does not
svi.run(3000, X, Y)
"""


def _error(script, folder):
    ended = subprocess.run([sys.executable, "-c", LIMITED + script, str(folder)], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 1
    return ended.stderr


def test_a_store(tmp_path):
    error = _error(STORE, tmp_path)
    assert "StorageError" in error
    assert "run.zarr" in error
    kept = su.Posterior.load(tmp_path / "run.zarr").unconstrained
    assert kept.shape[1] > 0
    settings = {"num_warmup": 100, "num_samples": kept.shape[1], "num_chains": 2, "seed": 0, "progress": False}
    whole = su.infer.MCMC(su.infer.NUTS(regression), **settings).run(X, Y).unconstrained
    np.testing.assert_array_equal(kept, whole)


def test_a_checkpoint(tmp_path):
    error = _error(CHECKPOINT, tmp_path)
    assert "StorageError" in error
    assert "svi.npz" in error
    svi = su.infer.SVI(regression, su.infer.autoguide.AutoNormal(regression), su.optim.Adam(lr=0.01), seed=0)
    svi.load(tmp_path / "svi.npz")
    svi.run(1, X, Y)
    assert len(svi.losses) in (1001, 2001, 3001)
