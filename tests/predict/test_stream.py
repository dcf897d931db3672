"""Predictions and log-likelihoods go to the store as they are computed: the same numbers, in bounded memory, kept if killed."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from tests.support.few import few

import sursum as su
import sursum.distributions as dist
from sursum.errors import ExportError, MissingFileError, PredictionError, StorageError
from sursum.infer import Predictive
from sursum.io.lazy_draws import StoredSites
from sursum.posterior.posterior import Posterior
from sursum.predict import stream

X = torch.linspace(-1.0, 1.0, 7)
Y = 2.0 * X

pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")


def line(x, y=None):
    slope = su.sample("slope", dist.Normal(0.0, 1.0))
    with su.plate("data", len(x)):
        mean = su.deterministic("mean", slope * x)
        su.sample("y", dist.Normal(mean, 0.5), obs=y)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run in memory, and the same one in a store."""
    settings = {"num_warmup": 60, "num_samples": 50, "num_chains": 2, "seed": 0, "progress": False}
    plain = su.infer.MCMC(su.infer.NUTS(line), **settings).run(X, Y)
    path = tmp_path_factory.mktemp("run") / "run.zarr"
    stored = su.infer.MCMC(su.infer.NUTS(line), store=path, **settings).run(X, Y)
    return plain, stored, path


@pytest.fixture
def copied(run, tmp_path):
    """The run in memory, and a copy of the store: its path, and its posterior with the program."""
    import dataclasses
    import shutil

    plain, _, path = run
    shutil.copytree(path, tmp_path / "run.zarr")
    return plain, dataclasses.replace(Posterior.load(tmp_path / "run.zarr"), program=plain.program), tmp_path / "run.zarr"


def same(one, other):
    assert list(one) == list(other)
    for name in other:
        assert one[name].dtype == other[name].dtype
        assert torch.equal(one[name], other[name])


@pytest.mark.parametrize("chunk", few([7, 25, None], [7, None]))
def test_it_is_the_result_in_memory_bit_for_bit(copied, chunk):
    plain, stored, path = copied
    same(stored.predict(seed=3, chunk=chunk, store=path), plain.predict(seed=3, chunk=chunk))
    new = torch.tensor([0.0, 4.0, 5.0])
    same(stored.predict(new, seed=3, chunk=chunk, store=path), plain.predict(new, seed=3, chunk=chunk))
    same(stored.log_likelihood(chunk=chunk, store=path), plain.log_likelihood(chunk=chunk))
    prior = Predictive(line, num_samples=30, seed=4, chunk=chunk)
    in_store = Predictive(line, num_samples=30, seed=4, chunk=chunk, store=path)
    same(in_store(X), prior(X))
    loaded = Posterior.load(path)
    assert list(loaded.groups) == ["log_likelihood", "posterior_predictive", "predictions", "prior", "prior_predictive"]
    assert loaded.warnings == plain.warnings
    same(loaded.groups["posterior_predictive"], plain.predict(seed=3, chunk=chunk))
    same(loaded.groups["predictions"], plain.predict(new, seed=3, chunk=chunk))
    same(loaded.groups["log_likelihood"], plain.log_likelihood(chunk=chunk))
    assert torch.equal(loaded.groups["prior"]["slope"][0], prior(X)["slope"])
    assert torch.equal(loaded.groups["prior_predictive"]["y"][0], prior(X)["y"])


def test_what_is_returned_reads_when_it_is_asked_and_says_the_same(copied):
    plain, stored, path = copied
    here, there = plain.predict(seed=3), stored.predict(seed=3, store=path)
    assert isinstance(there.sites, StoredSites)
    assert repr(there) == repr(here)
    assert there.drawn == here.drawn
    assert torch.equal(there.mean("y"), here.mean("y"))
    assert torch.equal(there.quantile([0.1, 0.9]), here.quantile([0.1, 0.9]))
    assert str(there.summary()) == str(here.summary())
    # Added to the posterior it stays where it is.
    whole = stored.with_groups(posterior_predictive=there)
    assert isinstance(whole.groups["posterior_predictive"], StoredSites)
    assert list(whole.groups["posterior_predictive"]) == ["y"]
    data = whole.to_arviz()
    np.testing.assert_array_equal(np.asarray(data["posterior_predictive"]["y"]), here["y"].numpy())
    assert data["posterior_predictive"]["y"].dims == ("chain", "draw", "data")


def test_a_prior_from_a_store_is_added(copied):
    _, stored, path = copied
    prior = Predictive(line, num_samples=30, seed=4, store=path)(X)
    assert repr(prior) == "<Prediction: 30 draws of slope (), mean (7,), y (7,)>"
    whole = stored.with_groups(prior=prior)
    assert {group: list(sites) for group, sites in whole.groups.items()} == {
        "prior": ["slope", "mean"],
        "prior_predictive": ["y"],
    }
    assert whole.groups["prior"]["slope"].shape == (1, 30)


def test_draws_of_a_stored_posterior_are_read_from_it(run):
    """Every way to look at them gives what the run in memory has."""
    plain, stored, path = run
    assert isinstance(stored.sites, StoredSites)
    for other in (stored, Posterior.load(path), pickle.loads(pickle.dumps(stored))):
        same(other, plain)
        same(other.warmup, plain.warmup)
        assert repr(other) == repr(plain)
        assert str(other.summary()) == str(plain.summary())
        assert other._repr_html_() == plain._repr_html_()
        q, expected = other.unconstrained, plain.unconstrained
        for key in (
            0,
            -1,
            (0, 3),
            (slice(None), -1),
            (slice(None), slice(5, 20, 3), 0),
            (slice(None), slice(None, None, -2)),
            (..., 0),
        ):
            np.testing.assert_array_equal(q[key], expected[key])
            assert q[key].shape == expected[key].shape
        np.testing.assert_array_equal(q[expected > 0], expected[expected > 0])
        np.testing.assert_array_equal(2 * q - 1, 2 * expected - 1)
        assert (len(q), q.shape, q.dtype, q.ndim) == (2, (2, 50, 1), np.float64, 3)
        assert float(q.mean()) == float(expected.mean())
        assert other.stats["diverging"].sum() == plain.stats["diverging"].sum()
    with pytest.raises(IndexError):
        stored.unconstrained[2]
    with pytest.raises(KeyError, match=r"no site 'slop' in these draws\. Did you mean 'slope'"):
        stored["slop"]


def test_a_stored_posterior_is_saved_to_a_file_like_any(run, tmp_path):
    plain, stored, _ = run
    for name, posterior in {"a": plain, "b": stored}.items():
        posterior.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def stop_after(monkeypatch, parts):
    pieces = stream.pieces

    def some(*args, **kwargs):
        for k, piece in enumerate(pieces(*args, **kwargs)):
            if k == parts:
                raise LookupError("the lights went out")
            yield piece

    monkeypatch.setattr(stream, "pieces", some)
    monkeypatch.setattr(stream, "HELD", 1)


@pytest.mark.parametrize("parts", [1, 4, 5])
def test_what_was_begun_is_gone_on_with(copied, monkeypatch, parts):
    """Each part has 10 draws of a chain, and the chains take turns: of 5 parts the first chain has 30 draws."""
    plain, stored, path = copied
    with monkeypatch.context() as patch:
        stop_after(patch, parts)
        with pytest.raises(LookupError):
            stored.predict(seed=3, chunk=10, store=path)
    complete = 10 * (parts // 2)
    half = Posterior.load(path)
    said = f"The group `posterior_predictive` is incomplete: it has {complete} of 50 draws of each chain. Repeat the call"
    assert half.warnings[-1].startswith(said)
    if complete:
        assert torch.equal(half.groups["posterior_predictive"]["y"], plain.predict(seed=3, chunk=10)["y"][:, :complete])
    else:
        assert "posterior_predictive" not in half.groups
    with pytest.raises(StorageError, match=r"was started with seed 3, but it is 4 now\. To continue it, give the same seed"):
        stored.predict(seed=4, chunk=10, store=path)
    with pytest.raises(StorageError, match=r"the result of the program at the first draw is different now\. To continue it"):
        Predictive(line, stored, chunk=10, store=path)(X + 1.0)
    other = Predictive(line, {"slope": torch.zeros(20)}, store=path)
    with pytest.raises(StorageError, match=r"an incomplete group 'posterior_predictive' of 2 × 50 draws, but 1 × 20"):
        other(X)
    calls = []
    pieces = stream.pieces
    monkeypatch.setattr(stream, "pieces", lambda *args, **kwargs: (calls.append(p[0]) or p for p in pieces(*args, **kwargs)))
    same(stored.predict(chunk=10, store=path), plain.predict(seed=3, chunk=10))  # the seed is that with which it was begun
    assert sum(map(len, calls)) == 100 - 10 * parts  # and nothing is computed twice
    assert Posterior.load(path).warnings == plain.warnings


def test_what_a_writer_that_was_killed_had_only_begun_is_no_obstacle(copied):
    plain, stored, path = copied
    (path / "log_likelihood" / "y").mkdir(parents=True)
    (path / "log_likelihood" / "zarr.json").write_text("{}")
    assert "log_likelihood" not in Posterior.load(path).groups
    same(stored.log_likelihood(store=path), plain.log_likelihood())


def test_nothing_is_written_over(copied):
    _, stored, path = copied
    stored.log_likelihood(store=path)
    with pytest.raises(StorageError, match=r"run\.zarr' already has a group 'log_likelihood', and stored data are never over"):
        stored.log_likelihood(store=path)
    with pytest.raises(StorageError, match=r"already has a group 'log_likelihood'"):
        stored.with_groups(store=path, log_likelihood=stored.log_likelihood())


def test_bad_input(copied, tmp_path):
    _, stored, path = copied
    with pytest.raises(MissingFileError, match=r"gone' does not exist"):
        stored.predict(store=tmp_path / "gone")
    for group, samples in (("posterior", stored), ("predictions", None)):
        message = (
            rf"`group` is '{group}', but must be 'posterior_predictive' or 'predictions', with a `store` and posterior samples"
        )
        with pytest.raises(PredictionError, match=message):
            Predictive(line, samples, store=path, group=group)
    with pytest.raises(PredictionError, match="`group` is 'predictions'"):
        Predictive(line, stored, group="predictions")
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X), batch_size=2)
    with pytest.raises(PredictionError, match=r"a data loader cannot be combined with `store`.*Give the inputs as one tensor"):
        Predictive(line, stored, store=path)(loader)
    with pytest.raises(ExportError):
        stored.with_groups(nothing=stored.predict(seed=0))
    assert sorted(Posterior.load(path).groups) == []


PROGRAM = """
import dataclasses, os, resource, sys, torch, sursum as su, sursum.distributions as dist
from sursum.predict import stream
def model(y=None):
    z = su.sample("z", dist.Normal(torch.zeros(5), 1.0).to_event(1))
    with su.plate("data", int(sys.argv[3])):
        su.sample("y", dist.Normal(z.sum(), 1.0), obs=y)
"""

WRITER = (
    PROGRAM
    + """
stream.HELD = 1
posterior = su.Posterior.load(sys.argv[1])
print("writing", flush=True)
su.infer.Predictive(model, posterior, seed=5, chunk=20, store=sys.argv[1])()
"""
)

PEAK = (
    PROGRAM
    + """
posterior = su.Posterior.load(sys.argv[1])
y = torch.zeros(int(sys.argv[3]))
if sys.argv[2] == "predict":
    found = su.infer.Predictive(model, posterior, seed=5, store=sys.argv[1])()
else:
    found = su.infer.log_likelihood(model, posterior, y, store=sys.argv[1])
assert getattr(found, "sites", found).arrays["y"].shape[2] == len(y)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
)


def sampled(path, size, draws):
    def model(y=None):
        z = su.sample("z", dist.Normal(torch.zeros(5), 1.0).to_event(1))
        with su.plate("data", size):
            su.sample("y", dist.Normal(z.sum(), 1.0), obs=y)

    settings = {"num_warmup": 50, "num_samples": draws, "num_chains": 2, "seed": 0, "progress": False}
    su.infer.MCMC(su.infer.NUTS(model), store=path, **settings).run(torch.zeros(size))
    return model


@pytest.mark.slow
def test_after_kill_9_every_complete_chunk_is_there_and_it_goes_on(tmp_path):
    """The writer is killed in the middle; what is there is what would have been there, and the rest is added."""
    path = tmp_path / "run.zarr"
    model = sampled(path, 40, 2000)
    command = [sys.executable, "-c", WRITER, str(path), "predict", "40"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n", process.stderr.read()
        end = time.monotonic() + 60
        while not (path / "counts" / "posterior_predictive" / "c" / "1").exists():
            assert time.monotonic() < end
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
    posterior = Posterior.load(path)
    expected = Predictive(model, posterior, seed=5, chunk=20)()["y"]
    there = posterior.groups["posterior_predictive"]["y"]
    assert 20 <= there.shape[1] < 2000
    assert f"it has {there.shape[1]} of 2000 draws of each chain" in posterior.warnings[-1]
    assert torch.equal(there, expected[:, : there.shape[1]])
    assert torch.equal(Predictive(model, posterior, chunk=20, store=path)()["y"], expected)
    assert torch.equal(Posterior.load(path).groups["posterior_predictive"]["y"], expected)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["predict", "log_likelihood"])
def test_memory_is_bounded(tmp_path, verb):
    """3,200 more draws of each chain are 256 MB more of predictions, 512 of log-likelihoods; an eighth of that is allowed.

    A part of 64 MB of tensors (546 draws or fewer), 4 MB that wait and a chunk are there at any length: the shorter run has
    them too.
    """
    size, peaks, lengths = 10_000, [], (800, 4000)
    for draws in lengths:
        path = tmp_path / f"{draws}.zarr"
        sampled(path, size, draws)
        command = [sys.executable, "-c", PEAK, str(path), verb, str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    more = 2 * (lengths[1] - lengths[0]) * size * (4 if verb == "predict" else 8)
    assert (peaks[1] - peaks[0]) * 1024 < more / 8, (peaks, more)
