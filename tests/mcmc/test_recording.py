"""A run that writes its draws as they come: the same draws, readable at every moment, whatever happens to the writer."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from tests.support.few import few

from sursum.errors import DiagnosticWarning, StorageError
from sursum.posterior.posterior import Posterior

short = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")


@short
def test_a_stored_run_is_bit_for_bit_the_one_in_memory(sampler, native_gaussian, tmp_path):
    settings = {"num_warmup": 203, "num_samples": 1105, "num_chains": 3, "seed": 4}
    plain = sampler(native_gaussian(), **settings).run()
    stored = sampler(native_gaussian(), store=tmp_path / "run.zarr", **settings).run()
    for other in (stored, Posterior.load(tmp_path / "run.zarr")):
        assert list(other) == list(plain)
        for ours, theirs in ((other, plain), (other.warmup, plain.warmup)):
            np.testing.assert_array_equal(ours.unconstrained, theirs.unconstrained)
            assert list(ours.stats) == list(theirs.stats)
            for name in theirs.stats:
                assert ours.stats[name].dtype == theirs.stats[name].dtype
                np.testing.assert_array_equal(ours.stats[name], theirs.stats[name])
            for name in theirs:
                assert ours[name].dtype == theirs[name].dtype
                assert torch.equal(ours[name], theirs[name])
        for name in ("latents", "coordinates", "dims", "warnings"):
            assert getattr(other, name) == getattr(plain, name)
        assert torch.equal(other.observed["y"], plain.observed["y"])
    assert not (tmp_path / "run.zarr" / ".spool").exists()


@short
def test_some_sites_only(sampler, gaussian, tmp_path):
    sampler(gaussian(), store=tmp_path / "run.zarr", keep=["mu", "floor"]).run()
    assert list(Posterior.load(tmp_path / "run.zarr")) == ["mu", "floor"]
    assert list(Posterior.load(tmp_path / "run.zarr", sites=["floor"])) == ["floor"]
    with pytest.raises(StorageError, match=r"run\.zarr' has no site 's'\. It has: 'mu', 'floor'"):
        Posterior.load(tmp_path / "run.zarr", sites=["s"])


@short
def test_a_site_that_is_not_kept_is_judged_all_the_same(sampler, gaussian, tmp_path):
    with pytest.warns(DiagnosticWarning, match=r"sample size of `(mu|s)` is"):
        sampler(gaussian(), num_warmup=20, num_samples=30, store=tmp_path / "run.zarr", keep=["constant"]).run()


@short
def test_a_store_is_never_written_over(sampler, gaussian, tmp_path):
    (tmp_path / "run.zarr").mkdir()
    with pytest.raises(StorageError, match=r"run\.zarr' already exists, and a store is never overwritten"):
        sampler(gaussian(), store=tmp_path / "run.zarr").run()
    assert list((tmp_path / "run.zarr").iterdir()) == []


@short
def test_a_run_is_read_while_it_is_written(sampler, gaussian, tmp_path):
    path = tmp_path / "run.zarr"

    def slow(q, value, gradient):
        time.sleep(0.0003)
        return value, gradient

    run = sampler(gaussian(value_hook=slow), num_warmup=40, num_samples=10**6, store=path, cores=2).start()
    seen, end = [], time.monotonic() + 30
    while len(seen) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
        try:
            posterior = Posterior.load(path)
        except StorageError:
            continue  # no draws yet
        if posterior.num_chains == 2 and posterior.num_samples and (not seen or posterior.num_samples > seen[-1].num_samples):
            seen.append(posterior)
            assert "The run has not finished: the posterior has " in posterior.warnings[0]
            assert torch.equal(posterior["s"], posterior["pair"][..., 1].exp())
    assert run.partial().num_samples >= seen[-1].num_samples
    whole = run.stop()
    assert whole.warnings[0].startswith("The run was stopped: the posterior has ")
    for posterior in seen:
        np.testing.assert_array_equal(posterior.unconstrained, whole.unconstrained[:, : posterior.num_samples])
        np.testing.assert_array_equal(posterior.stats["lp"], whole.stats["lp"][:, : posterior.num_samples])


WRITER = """
import os, signal, sys, torch, zarr, sursum as su, sursum.distributions as dist
def model():
    z = su.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    su.deterministic("square", z ** 2)
mcmc = su.infer.MCMC(
    su.infer.NUTS(model), num_warmup=100, num_samples=10**6, num_chains=2, cores=2, seed=7, progress=False,
    store=sys.argv[1], engine="native",
)
whole, parts = map(int, sys.argv[2:])
from sursum.io import zarr_chunks
counted, written, write, count = 0, 0, zarr_chunks.write_atomically, zarr.Array.__setitem__
def die():
    if counted == whole and written == parts:
        os.kill(os.getpid(), signal.SIGKILL)
def and_die(*args, **kwargs):
    global written
    write(*args, **kwargs)
    written += 1
    die()
def and_count(array, key, value):
    global counted, written
    count(array, key, value)
    if array.path == "counts/sample":
        counted, written = counted + 1, 0
    die()
zarr_chunks.write_atomically, zarr.Array.__setitem__ = and_die, and_count
mcmc.run()
"""


# Just after draws have been counted; between the arrays of draws that have not; where all is written but the count.
@pytest.mark.parametrize(("whole", "parts"), few([(1, 0), (2, 6), (3, 13)], [(2, 6)]))
@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_after_kill_9_every_complete_draw_is_there(tmp_path, whole, parts):
    """A process is killed at some place of its writing; twice of what it had drawn is compared."""
    path = tmp_path / "run.zarr"
    command = [sys.executable, "-c", WRITER, str(path), str(whole), str(parts)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    posterior = Posterior.load(path)
    assert posterior.num_samples > 0
    assert f"The run has not finished: the posterior has {posterior.num_samples} of 1000000 draws" in posterior.warnings[0]
    assert "Draws that each chain has stored: " in posterior.warnings[0]
    # What is there is whole: no zeros or gaps, and what the program says of them holds.
    assert torch.equal(posterior["square"], posterior["z"] ** 2)
    np.testing.assert_array_equal(posterior["z"].numpy(), posterior.unconstrained)
    lp = -0.5 * (posterior.unconstrained**2).sum(-1) - 1.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(posterior.stats["lp"], lp, rtol=1e-12)
    assert np.abs(posterior.unconstrained).sum(-1).min() > 0
    assert abs(float(posterior["z"].mean())) < 5 / np.sqrt(posterior.num_samples)


PEAK = """
import resource, sys, torch, sursum as su, sursum.distributions as dist
def model():
    z = su.sample("z", dist.Normal(torch.zeros(500), 1.0).to_event(1))
mcmc = su.infer.MCMC(
    su.infer.NUTS(model), num_warmup=50, num_samples=int(sys.argv[2]), num_chains=1, seed=7, progress=False,
    store=sys.argv[1],
)
run = mcmc.start()
run.wait()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_stays_bounded(tmp_path):
    """128 MB more of draws, and as much again of sites, take no more than an eighth of that in memory."""
    peaks = []
    for draws in (3000, 35000):
        command = [sys.executable, "-c", PEAK, str(tmp_path / f"{draws}.zarr"), str(draws)]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert (peaks[1] - peaks[0]) * 1024 < 0.25 * 32000 * 500 * 8, peaks


def test_what_a_failed_run_has_written_stays(sampler, gaussian, tmp_path):
    path = tmp_path / "run.zarr"
    count = [0]

    def hook(q, value, gradient):
        count[0] += 1
        if count[0] == 3000:
            raise LookupError("no such row")
        time.sleep(0.0002)
        return value, gradient

    with pytest.raises(LookupError):
        sampler(gaussian(value_hook=hook), num_warmup=50, num_samples=10**6, num_chains=1, store=path).run()
    posterior = Posterior.load(path)
    assert posterior.num_samples > 100
    assert posterior.warnings[0].startswith("The run failed: the posterior has ")
    assert not (path / ".spool").exists()


@short
def test_the_store_opens_in_xarray(sampler, gaussian, tmp_path):
    import xarray

    posterior = sampler(gaussian(), num_samples=40, store=tmp_path / "run.zarr").run()
    tree = xarray.open_datatree(tmp_path / "run.zarr", engine="zarr", consolidated=False)
    np.testing.assert_array_equal(tree["posterior"]["pair"].values, posterior["pair"].numpy())
    assert tree["observed_data"]["y"].dims == ("house",)
    np.testing.assert_array_equal(tree["sample_stats"]["lp"].values, posterior.stats["lp"])
