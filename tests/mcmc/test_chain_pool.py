"""Chains side by side: interrupts, failures, divergences, and at most so many at once."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import sursum as su
from sursum.errors import DiagnosticWarning
from sursum.mcmc.chain_pool import BEHIND, Schedule
from sursum.mcmc.progress import Line
from sursum.mcmc.trace import Progress

short = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")


@pytest.fixture
def listening():
    """Ctrl-C raises KeyboardInterrupt, also where the tests were begun in the background, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupting(after: int, chains: int):
    """A hook that sends the process Ctrl-C, as a user's terminal would, once each of `chains` has evaluated so often."""
    counts = Counter()

    def hook(q, value, gradient):
        mine = threading.get_ident()
        counts[mine] += 1
        if counts[mine] == after and sum(count >= after for count in counts.values()) == chains:
            os.kill(os.getpid(), signal.SIGINT)
        return value, gradient

    return hook


def workers_end() -> bool:
    """Whether no thread of a chain is left."""
    return not any(thread.name == "sursum chain" for thread in threading.enumerate())


@short
@pytest.mark.usefixtures("listening")
def test_ctrl_c_ends_the_run_and_keeps_what_has_been_drawn(sampler, gaussian):
    density = gaussian(value_hook=interrupting(2000, chains=2))
    with pytest.raises(KeyboardInterrupt, match=r"draws of all 2 chains\. It is the attribute `posterior`") as caught:
        sampler(density, num_samples=10**6, num_chains=2, cores=2).run()
    assert isinstance(caught.value, su.infer.Interrupted)
    posterior = caught.value.posterior
    chains, draws = posterior["mu"].shape
    assert chains == 2
    assert 10 < draws < 10**6
    assert posterior.warmup["mu"].shape == (2, 100)
    assert posterior.stats["lp"].shape == (2, draws)
    text = f"The run was interrupted: the posterior has {draws} of 1000000 draws of all 2 chains."
    assert posterior.warnings[0] == text
    again = pickle.loads(pickle.dumps(caught.value))
    assert torch.equal(again.posterior["mu"], posterior["mu"])
    # What was drawn is what an uninterrupted run draws.
    whole = sampler(gaussian(), num_samples=draws).run()
    np.testing.assert_array_equal(posterior.unconstrained, whole.unconstrained)


@short
@pytest.mark.usefixtures("listening")
def test_ctrl_c_while_other_chains_wait(sampler, gaussian):
    density = gaussian(value_hook=interrupting(3000, chains=1))
    with pytest.raises(su.infer.Interrupted, match=r"The run was interrupted: .+ of 1 of 3 chains\.") as caught:
        sampler(density, num_samples=10**6, num_chains=3, cores=1).run()
    assert caught.value.posterior["mu"].shape[0] == 1


@pytest.mark.usefixtures("listening")
def test_ctrl_c_in_the_warmup(sampler, gaussian):
    density = gaussian(value_hook=interrupting(1000, chains=2))
    with pytest.raises(
        su.infer.Interrupted, match="interrupted during the warm-up: there is no draw of the posterior"
    ) as caught:
        sampler(density, num_warmup=10**6, num_samples=10).run()
    posterior = caught.value.posterior
    assert posterior["pair"].shape == (2, 0, 2)
    assert posterior.warmup["pair"].shape[1] > 0
    assert "mu" in str(posterior.summary())


def test_ctrl_c_before_the_first_draw(sampler, gaussian):
    def start(rng):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampler(gaussian(start_hook=start)).run()


def test_an_exception_in_the_density_comes_out_itself(sampler, gaussian, capfd):
    error = LookupError("no such row")
    count = itertools.count(1)

    def hook(q, value, gradient):
        if next(count) == 500:
            raise error
        return value, gradient

    with pytest.raises(LookupError) as caught:
        sampler(gaussian(value_hook=hook), num_samples=10**6, num_chains=3).run()
    assert caught.value is error
    # The trace leads to the line that raised it, and nothing is printed.
    assert caught.traceback[-1].name == "hook"
    assert capfd.readouterr().err == ""
    assert workers_end()


@short
def test_an_exception_in_the_very_last_evaluation(sampler, gaussian):
    calls = itertools.count(1)
    settings = {"num_warmup": 20, "num_samples": 20, "num_chains": 1}
    count = gaussian(value_hook=lambda q, value, gradient: (next(calls), (value, gradient))[1])
    sampler(count, **settings).run()
    last = next(calls) - 1
    again = itertools.count(1)

    def hook(q, value, gradient):
        if next(again) == last:
            raise LookupError("at the last moment")
        return value, gradient

    with pytest.raises(LookupError, match="at the last moment"):
        sampler(gaussian(value_hook=hook), **settings).run()


def test_an_exception_at_a_later_chains_start(sampler, gaussian):
    begun = itertools.count()

    def start(rng):
        if next(begun) == 1:
            raise LookupError("the second chain")
        return rng.uniform(-0.1, 0.1, 2)

    with pytest.raises(LookupError, match="the second chain"):
        sampler(gaussian(start_hook=start), num_samples=10**6, cores=2).run()
    assert workers_end()


@pytest.mark.parametrize("bad", [(-np.inf, [0.0, 0.0]), (np.inf, [1.0, 1.0]), (np.nan, [1.0, 1.0]), (0.0, [np.nan, 1.0])])
@short
def test_a_density_that_is_not_finite_is_a_divergence(sampler, gaussian, bad):
    """Beyond mu = 3, one standard deviation above its mean, the density does not exist: a truncated normal."""

    def hook(q, value, gradient):
        return (bad[0], np.array(bad[1])) if q[0] > 3.0 else (value, gradient)

    density = gaussian(value_hook=hook, covariance=((1.0, 0.0), (0.0, 1.0)))
    with pytest.warns(DiagnosticWarning, match="ended in a divergence"):
        posterior = sampler(density, num_samples=500).run()
    assert posterior["mu"].max() <= 3.0
    assert posterior.stats["diverging"].sum() > 20
    assert posterior.stats["lp"].min() > -np.inf


def of_chains(hook):
    """A hook that looks at what chains evaluate, and not at the looking for a start."""

    def only(q, value, gradient):
        if threading.current_thread() is not threading.main_thread():
            hook()
        return value, gradient

    return only


@short
def test_no_more_chains_at_once_than_cores(sampler, gaussian):
    settings = {"num_warmup": 10, "num_samples": 20, "cores": 1}
    alone, chains, seen = [], set(), []

    def look():
        chains.add(threading.get_native_id())  # each chain runs in a thread of its own
        seen.append(len(chains))

    sampler(gaussian(value_hook=of_chains(lambda: alone.append(1))), num_chains=1, **settings).run()
    sampler(gaussian(value_hook=of_chains(look)), num_chains=3, **settings).run()
    # In all that the first chain evaluates no other one has begun, and so on.
    assert seen == sorted(seen)
    assert seen.count(1) == len(alone)
    assert set(seen) == {1, 2, 3}


@short
def test_as_many_chains_at_once_as_cores(sampler, gaussian):
    together, known, lock = threading.Barrier(2), set(), threading.Lock()

    def meet():
        with lock:
            first = threading.get_native_id() not in known and len(known) < 2
            known.add(threading.get_native_id())
        if first:
            together.wait(60)  # passes where both are there

    settings = {"num_warmup": 10, "num_samples": 20, "num_chains": 4, "cores": 2}
    assert sampler(gaussian(value_hook=of_chains(meet)), **settings).run()["mu"].shape == (4, 20)
    assert together.broken is False
    assert len(known) >= 2


@dataclass(eq=False)
class Ahead:
    """A chain with a spool that gains so many draws whenever anybody looks and it is not paused."""

    speed: int
    total: int = 3000
    drawn: int = 0
    stored: int = 0
    paused: bool = False
    most: int = 0
    spool: Any = True
    progress: Progress = field(default_factory=Progress)
    state: Any = field(default_factory=lambda: SimpleNamespace(block=np.zeros(8, dtype=np.uint8)))

    def waiting(self) -> int:
        if not self.paused:
            self.drawn = min(self.drawn + self.speed, self.total)
        self.most = max(self.most, self.drawn - self.stored)
        return self.drawn - self.stored

    def finished(self) -> bool:
        return self.drawn == self.total

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def end(self) -> None: ...

    cancel = end


@pytest.mark.slow
@pytest.mark.parametrize("speeds", [(100, 100), (100, 3)])
def test_a_chain_that_is_ahead_of_its_store_waits_for_it(speeds, monkeypatch):
    """No chain has more than a few looks' worth of draws beyond the limit, and all are stored."""
    monkeypatch.setattr("sursum.mcmc.chain_pool.LONGEST_NAP", 0.0)
    chains = [Ahead(speed) for speed in speeds]

    def collect(k: int, chain: Any, ended: bool) -> None:
        chain.stored = chain.drawn if ended else min(chain.drawn, chain.stored + 64)

    outcome = Schedule(lambda k, ended: chains[k], 2, 2, Line(3000), collect).run()
    assert outcome.happened == ""
    assert [chain.stored for chain in chains] == [3000, 3000]
    assert max(chain.most for chain in chains) <= BEHIND + 100
