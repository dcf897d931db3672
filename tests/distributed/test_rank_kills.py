"""Ranks that are killed at random moments while they sample or train: the others say which, and what was saved is right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from tests.support.ranks import HEAD, run_ranks
from tests.support.row_regression import X, Y, regression

import sursum as su

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")]

RANKS = """
import warnings; warnings.simplefilter("ignore")
import sursum as su
from tests.support.row_regression import X, Y, regression
sharded = su.distributed.shard(regression, plate="data")
folder = os.environ["FOLDER"]
"""
SAMPLE = """
mcmc = su.infer.MCMC(
    su.infer.NUTS(sharded), num_warmup=50, num_samples=1_000_000, num_chains=2, seed=0, progress=False,
    store=folder + "/run.zarr",
)
mcmc.run(X, Y)
"""
TRAIN = """
guide = su.infer.autoguide.AutoNormal(regression)
svi = su.infer.SVI(
    sharded, guide, su.optim.Adam(lr=0.01), seed=0, checkpoint=folder + "/svi.npz", checkpoint_every=50, progress=False
)
svi.run(1_000_000, X, Y)
"""

DYNAMICS = """
dynamics = su.infer.SGHMC(sharded, 1e-3, precondition=True)
run = su.infer.SGMCMC(
    dynamics, num_warmup=100, num_samples=200, thinning=2, num_chains=2, seed=1, checkpoint=path, checkpoint_every=20
)
"""
SWAG = """
run = su.infer.SWAG(
    sharded, su.optim.SGD({"lr": 1e-4, "momentum": 0.9}), num_warmup=100, num_steps=500, every=5, num_samples=10, seed=1,
    checkpoint=path, checkpoint_every=20,
)
"""
LOADED = """
import time
path = folder + "/run.npz"
data = torch.utils.data.TensorDataset(X, Y)
loader = torch.utils.data.DataLoader(data, 20, shuffle=True)

def slowly(batch):
    time.sleep(0.01)  # so that the run is killed before it ends
    return torch.utils.data.default_collate(batch)

slow = torch.utils.data.DataLoader(data, 20, shuffle=True, collate_fn=slowly)
"""
NUMBERS = """
print(json.dumps([found.unconstrained.tolist(), {name: value.tolist() for name, value in found.stats.items()}]))
"""


def _kill_one(script, folder, seed, begun):
    """The ranks' exit statuses and errors, after one of them was killed at a random moment, and its number."""
    rng = np.random.default_rng(seed)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "3", "MEET": f"{folder}/meet", "FOLDER": str(folder)}
    command = [sys.executable, "-c", HEAD + RANKS + script]
    ranks = [
        subprocess.Popen(command, env={**environment, "RANK": str(k)}, stderr=subprocess.PIPE, text=True) for k in range(3)
    ]
    while not begun(folder):
        time.sleep(0.2)
        assert all(rank.poll() is None for rank in ranks)
    time.sleep(float(rng.uniform(0.0, 3.0)))
    victim = int(rng.integers(3))
    ranks[victim].kill()
    said = [rank.communicate(timeout=120)[1] for rank in ranks]
    for number, (rank, error) in enumerate(zip(ranks, said, strict=True)):
        if number != victim:
            assert rank.returncode == 1
            assert f"rank {victim} of 3 ended, and with it the run" in error
    return victim


def _has_draws(folder):
    try:
        return su.Posterior.load(folder / "run.zarr").num_samples > 0
    except su.errors.StorageError:
        return False


@pytest.mark.parametrize("seed", range(3))
def test_ranks_that_sample(seed, tmp_path):
    _kill_one(SAMPLE, tmp_path, seed, _has_draws)
    kept = su.Posterior.load(tmp_path / "run.zarr").unconstrained
    assert kept.shape[1] > 0
    assert np.isfinite(kept).all()


@pytest.mark.parametrize("seed", range(3))
def test_ranks_that_train(seed, tmp_path):
    victim = _kill_one(TRAIN, tmp_path, seed, lambda folder: (folder / "svi.npz").exists())

    def svi():
        return su.infer.SVI(regression, su.infer.autoguide.AutoNormal(regression), su.optim.Adam(lr=0.01), seed=0)

    resumed, undisturbed = svi(), svi()
    resumed.load(tmp_path / "svi.npz")
    resumed.run(1, X, Y)
    steps = len(resumed.losses)
    # Rank 0 writes where it is when it sees that another rank is gone; otherwise there is its last checkpoint.
    assert steps > 50
    assert victim or steps % 50 == 1
    undisturbed.run(steps, X, Y)
    np.testing.assert_allclose(resumed.losses, undisturbed.losses, rtol=1e-6)


@pytest.mark.parametrize("script", [DYNAMICS, SWAG], ids=["SGMCMC", "SWAG"])
@pytest.mark.parametrize("seed", range(2))
def test_ranks_that_draw_from_batches(script, seed, tmp_path, monkeypatch):
    """A run that goes on from the file equals an undisturbed one bit for bit."""
    disturbed, quiet = tmp_path / "disturbed", tmp_path / "quiet"
    for folder in (disturbed, quiet):
        folder.mkdir()
    script = "import json\n" + LOADED + script
    _kill_one(script + "run.run(slow)", disturbed, seed, lambda folder: (folder / "run.npz").exists())
    (disturbed / "meet").unlink(missing_ok=True)

    def drawn(folder, call):
        monkeypatch.setenv("FOLDER", str(folder))
        ended = run_ranks(RANKS + script + f"found = {call}" + NUMBERS, folder, size=3)
        assert [status for status, _, _ in ended] == [0] * 3, "".join(error for _, _, error in ended)
        return [json.loads(out.splitlines()[-1]) for _, out, _ in ended]

    resumed, undisturbed = drawn(disturbed, "run.resume(path, loader)"), drawn(quiet, "run.run(loader)")
    assert resumed == undisturbed
    assert resumed[0] == resumed[2]
    assert np.isfinite(resumed[0][0]).all()
