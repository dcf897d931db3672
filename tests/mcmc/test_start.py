"""Starts: finite, with no component of the gradient zero, drawn again until they are."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.errors import DensityError, DiagnosticWarning, UnusedSiteWarning
from sursum.mcmc.start import TRIES, check_given_start, find_near, find_start


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_a_chain_starts_exactly_there(sampler, gaussian):
    density = gaussian(start_hook=lambda rng: np.array([0.5, 0.25]))
    sampler(density, num_chains=1).run()
    # The search for a start, then that for a state: nothing is added to the start.
    assert all(np.array_equal(q, [0.5, 0.25]) for q in density.evaluations[:2])
    assert not np.array_equal(density.evaluations[-1], [0.5, 0.25])


def test_starts_are_drawn_again(gaussian):
    tried = []

    def start(rng):
        tried.append(rng.uniform(size=2))
        return tried[-1]

    def hook(q, value, gradient):
        if len(tried) == 1:
            return -np.inf, gradient
        if len(tried) == 2:
            return value, np.array([0.0, 1.0])
        if len(tried) == 3:
            return value, np.array([np.nan, 1.0])
        return value, gradient

    density = gaussian(start_hook=start, value_hook=hook)
    found = find_start(density, density.value_and_grad, np.random.default_rng(0))
    assert len(tried) == 4
    assert np.array_equal(found, tried[3])


def test_never_finite(gaussian):
    density = gaussian(value_hook=lambda q, value, gradient: (np.nan, gradient))
    with pytest.raises(DensityError, match="not finite at any of 100 points") as caught:
        find_start(density, density.value_and_grad, np.random.default_rng(0))
    # The table of the last point tells where it comes from.
    assert "model.py:7" in str(caught.value)
    assert "Give initial values" in str(caught.value)


def test_a_gradient_that_is_always_zero_names_the_site(gaussian):
    density = gaussian(value_hook=lambda q, value, gradient: (value, gradient * [1.0, 0.0]))
    message = rf"by site 's' was exactly zero at all {TRIES} points tried\. .+ Remove the site"
    with pytest.raises(DensityError, match=message):
        find_start(density, density.value_and_grad, np.random.default_rng(0))


def test_a_gradient_with_some_zero_at_every_try(gaussian):
    flips = iter(range(10**6))

    def hook(q, value, gradient):
        return value, gradient * ([1.0, 0.0] if next(flips) % 2 else [0.0, 1.0])

    density = gaussian(value_hook=hook)
    message = "some component of the gradient was exactly zero, at the last one that by site 's'"
    with pytest.raises(DensityError, match=message):
        find_start(density, density.value_and_grad, np.random.default_rng(0))


def test_given_starts_are_checked(gaussian):
    density = gaussian(mean=(0.0, 0.0), covariance=((1.0, 0.0), (0.0, 1.0)))
    q = np.array([1.0, 0.0])
    assert check_given_start(density, density.value_and_grad, q) is q
    with pytest.raises(DensityError, match=r"(?s)given by `init` .+ not finite there.+model.py:7.+Give a different start"):
        check_given_start(density, density.value_and_grad, np.array([np.nan, 1.0]))
    q = np.array([1.0, 2.0])
    assert check_given_start(density, density.value_and_grad, q) is q


def test_a_program_that_fails_at_every_start(gaussian):
    def start(rng):
        raise ValueError("cannot be factorised")

    density = gaussian(start_hook=start)
    message = "no chain could start: the program fails wherever it was tried, 100 times, .+ cannot be factorised"
    with pytest.raises(DensityError, match=message) as caught:
        find_start(density, density.value_and_grad, np.random.default_rng(0))
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_density_between_walls_is_sampled_though_it_is_flat_by_a_coordinate():
    """Two ordered values, uniform on [0, ½]: E = (1/6, 1/3), and sd √(1/72) of each."""

    def program():
        pair = su.sample("pair", dist.ImproperUniform(constraints.ordered, (), (2,)))
        su.factor("inside", dist.Uniform(0.0, 0.5, validate_args=False).log_prob(pair).sum())

    # The pair reaches the density by comparisons, and nothing else.
    kernel = su.infer.NUTS(program, target_accept=0.95)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosticWarning)  # of walls: chains end at them in divergences
        warnings.simplefilter("ignore", UnusedSiteWarning)
        posterior = su.infer.MCMC(kernel, num_warmup=1000, num_samples=3000, seed=0, progress=False).run()
    pair = posterior["pair"]
    assert bool(((pair >= 0.0) & (pair <= 0.5)).all())
    summary = posterior.summary()["pair"]
    error = np.sqrt(1.0 / 72.0 / summary["ess_bulk"])
    assert (np.abs(summary["mean"] - np.array([1 / 6, 1 / 3])) < 5.0 * error).all()
    assert posterior.coordinates == ("pair[0]", "pair[1]")


def lifted(runs=None):
    """A site in units of a scale, whose initial value in these depends on that of the scale."""

    def program():
        if runs is not None:
            runs.append(1)
        theta = su.param("theta", torch.tensor([6.0, 1.0]))
        su.sample("y", dist.Normal(theta, 1.0).to_event(1), obs=torch.tensor([3.0, 4.0]))

    def alike(theta):
        return dist.Normal(su.sample("mu", dist.Normal(0.0, 5.0)), su.sample("tau", dist.HalfNormal(5.0)))

    return su.reparam(su.lift(program, {"theta": alike}), {"theta": su.handlers.LocScaleReparam(0.0)})


def test_chains_of_a_compiled_program_start_without_running_it():
    runs: list[int] = []
    compiled = su.compile(lifted(runs))
    count = len(runs)
    starts = np.array([find_near(compiled, np.random.default_rng(seed)) for seed in range(20)])
    assert len(runs) == count
    names = compiled.density.coordinate_names()
    there = [k for k, name in enumerate(names) if name.startswith("theta")]
    # In units of a scale of 1 around 0, as in the first run of the program, and around that by 0.1.
    assert np.abs(starts[:, there] - [6.0, 1.0]).max() <= 0.1
    assert np.abs(starts).max(axis=0)[[k for k in range(4) if k not in there]].max() <= 2.0
    assert len(np.unique(starts, axis=0)) == 20


def test_where_no_chain_can_start_near_the_randomness_is_left_as_it_was():
    compiled = su.compile(lifted())
    broken = SimpleNamespace(
        engine=compiled.engine, density=compiled.density, value_and_grad=lambda q: (-np.inf, np.zeros(len(q)))
    )
    rng = np.random.default_rng(3)
    assert find_near(broken, rng) is None
    assert rng.uniform() == np.random.default_rng(3).uniform()


def test_no_program_is_started_near_that_is_run_for_every_gradient():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert find_near(su.compile(lifted(), engine="eager"), np.random.default_rng(0)) is None
