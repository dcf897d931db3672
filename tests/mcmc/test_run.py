"""The handle of a run: what it says and does while chains run, and that nothing of it changes the draws."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest

import sursum as su
from sursum.errors import DensityError, DiagnosticWarning, PredictionError, SamplingError

short = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def slow(q, value, gradient):
    time.sleep(0.0005)
    return value, gradient


@short
def test_a_started_run_draws_what_a_run_draws(sampler, gaussian):
    run = sampler(gaussian(), seed=3).start()
    assert run.wait(60)
    assert run.state == "finished"
    np.testing.assert_array_equal(run.result().unconstrained, sampler(gaussian(), seed=3).run().unconstrained)
    assert run.result() is run.result()
    assert run.partial() is run.result()


class Gate:
    """A hook of densities: the `at`-th evaluation in a thread waits until the gate is opened; evaluations are counted."""

    def __init__(self, at):
        self.at, self.counts = at, Counter()
        self.reached, self._open = threading.Semaphore(0), threading.Event()

    def __call__(self, q, value, gradient):
        self.counts[threading.get_native_id()] += 1
        if self.counts[threading.get_native_id()] == self.at:
            self.reached.release()
            assert self._open.wait(60)
        return value, gradient

    def wait(self, threads):
        for _ in range(threads):
            assert self.reached.acquire(timeout=60)

    def open(self):
        self._open.set()


@short
def test_pause_rests_and_resume_goes_on_with_the_same_draws(sampler, gaussian):
    settings = {"num_warmup": 50, "num_samples": 60, "cores": 2, "max_tree_depth": 3}
    gate = Gate(40)
    run = sampler(gaussian(value_hook=gate), **settings).start()
    gate.wait(2)
    run.pause()
    assert run.state == "paused"
    gate.open()
    whole = sampler(gaussian(), **settings).run()  # meanwhile another one comes to its end
    # Since then each chain has at most ended the draw that it was making: 2³ − 1 steps.
    assert max(gate.counts.values()) <= 40 + 7
    assert not run.wait(0)
    run.resume()
    assert run.wait(60)
    np.testing.assert_array_equal(run.result().unconstrained, whole.unconstrained)


@short
def test_a_paused_run_begins_no_further_chain(sampler, gaussian):
    settings = {"num_warmup": 30, "num_samples": 30, "cores": 1}
    whole = Gate(-1)
    sampler(gaussian(value_hook=whole), num_chains=1, **settings).run()
    gate = Gate(max(whole.counts.values()))  # in the very last evaluation of the first chain
    run = sampler(gaussian(value_hook=gate), num_chains=3, **settings).start()
    gate.wait(1)
    run.pause()
    gate.open()
    until(lambda: run.progress[0].draws == 60)
    sampler(gaussian(), num_chains=3, **settings).run()
    assert sum(count > 10 for count in gate.counts.values()) == 1  # fewer are the looking for starts
    assert [chain.draws for chain in run.progress] == [60, 0, 0]
    run.resume()
    assert run.result()["mu"].shape == (3, 30)


@short
def test_partial_is_the_beginning_of_the_whole(sampler, gaussian):
    run = sampler(gaussian(value_hook=slow), num_warmup=50, num_samples=10**6).start()
    until(lambda: all(not chain.warming and chain.draws > 70 for chain in run.progress))
    first, second = run.partial(), run.partial()
    assert 0 < first.num_samples <= second.num_samples
    np.testing.assert_array_equal(first.unconstrained, second.unconstrained[:, : first.num_samples])
    assert f"The run is going on: the posterior has {first.num_samples} of 1000000 draws of all 2 chains." in first.warnings
    last = run.stop()
    assert run.state == "stopped"
    np.testing.assert_array_equal(second.unconstrained, last.unconstrained[:, : second.num_samples])
    assert last.warnings[0].startswith("The run was stopped: the posterior has ")
    whole = sampler(gaussian(), num_warmup=50, num_samples=last.num_samples).run()
    np.testing.assert_array_equal(last.unconstrained, whole.unconstrained)


@short
def test_a_run_that_is_stopped_at_once_has_a_draw_of_each_chain(sampler, gaussian, monkeypatch):
    monkeypatch.setattr("sursum.mcmc.run.GRACE", 60.0)  # however busy the machine is
    for thin in (1, 100):
        posterior = sampler(gaussian(), num_warmup=50, num_samples=10**6, num_chains=3, cores=3, thin=thin).start().stop()
        assert posterior.num_chains == 3
        assert posterior.num_samples >= 1


def test_before_the_first_draw_there_is_no_posterior(sampler, gaussian):
    gate = threading.Event()

    def hook(q, value, gradient):
        if threading.current_thread() is not threading.main_thread():
            gate.wait(20)
        return value, gradient

    run = sampler(gaussian(value_hook=hook), num_chains=2, cores=2).start()
    with pytest.raises(SamplingError, match="no chain has draws yet.+Wait, or check `progress`"):
        run.partial()
    run.schedule.stop(0.1)
    gate.set()
    run.wait(20)


def test_what_is_wrong_is_said_once(sampler, gaussian):
    run = sampler(gaussian(), num_samples=20, num_warmup=20).start()
    with pytest.warns(DiagnosticWarning):
        run.result()
    run.result()


def test_an_exception_of_the_program_comes_out_of_result(sampler, gaussian):
    error = LookupError("no such row")

    def hook(q, value, gradient):
        if threading.current_thread() is not threading.main_thread():
            raise error
        return value, gradient

    run = sampler(gaussian(value_hook=hook)).start()
    for ask in (run.result, run.partial, run.stop):
        run.wait(20)
        with pytest.raises(LookupError) as caught:
            ask()
        assert caught.value is error
    assert run.state == "failed"


def test_what_is_wrong_with_the_program_is_raised_at_the_start():
    mcmc = su.infer.MCMC(su.infer.NUTS(lambda: None))
    with pytest.raises(DensityError, match="no latent site"):
        mcmc.start()


@short
def test_it_says_how_far_it_is(sampler, gaussian):
    run = sampler(gaussian(), num_chains=1).start()
    run.wait(60)
    until(lambda: run.progress[0].draws == 200)
    assert repr(run) == "<Run: finished, 1 chain, 200/200 draws, 0 divergences>"


@short
def test_many_threads_ask_at_once(sampler, gaussian):
    run = sampler(gaussian(value_hook=slow), num_warmup=40, num_samples=60).start()
    until(lambda: all(chain.draws for chain in run.progress))
    failures = []

    def ask():
        try:
            while not run.wait(0):
                run.partial()
                run.pause()
                run.resume()
                repr(run)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    whole = sampler(gaussian(), num_warmup=40, num_samples=60).run()
    np.testing.assert_array_equal(run.result().unconstrained, whole.unconstrained)


ABANDONED = """
import sursum as su, sursum.distributions as dist
model = lambda: su.sample("z", dist.Normal(0.0, 1.0))
mcmc = su.infer.MCMC(su.infer.NUTS(model), num_samples=10**7, seed=0, progress=False, engine="torch")
run = mcmc.start()
while not any(chain.draws for chain in run.progress):
    run.wait(0.05)
print("leaving")
"""


def test_a_program_may_end_while_a_run_goes_on():
    done = subprocess.run([sys.executable, "-c", ABANDONED], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "leaving\n"), done.stderr
    assert "panicked" not in done.stderr


@short
def test_keep(sampler, gaussian):
    posterior = sampler(gaussian(), keep=["mu", "p*"]).run()
    assert list(posterior) == ["mu", "pair", "positive"]
    assert list(posterior.warmup) == ["mu", "pair", "positive"]
    assert posterior.latents == ("mu", "s")
    with pytest.raises(PredictionError, match=r"the draws of latent site 's' were not kept, but predict needs those of all"):
        posterior.predict()
    with pytest.raises(SamplingError, match=r"`keep` names 'nu', which is not a site of the program\. Did you mean 'mu'"):
        sampler(gaussian(), keep=["nu"]).run()


@pytest.mark.parametrize(
    ("setting", "found", "expected"),
    [("keep", "mu", "a sequence of names of sites"), ("keep", [1], "a sequence of names of sites"), ("store", 3, "a path")],
)
def test_settings_out_of_range(sampler, gaussian, setting, found, expected):
    with pytest.raises(SamplingError, match=f"`{setting}` is .+ but must be {expected}: "):
        sampler(gaussian(), **{setting: found})
