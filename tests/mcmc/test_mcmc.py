"""MCMC: right draws, the same draws, and settings that make sense."""

from __future__ import annotations

import re
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.special import ndtr
from tests.support.monte_carlo import agree, error

from sursum.errors import SamplingError
from sursum.mcmc import MCMC, NUTS
from sursum.mcmc import mcmc as mcmc_module
from sursum.mcmc.discrete_gibbs import TrajectoryKernel

# Too few draws to be satisfied with, and enough for what is tested.
short = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")


def test_draws_have_the_moments_of_the_posterior(sampler, gaussian):
    density = gaussian(covariance=((4.0, 1.0), (1.0, 0.5)), mean=(2.0, -1.0))
    posterior = sampler(density, num_warmup=300, num_samples=600, num_chains=4, seed=3).run()
    assert posterior.warnings == ()
    q = posterior["pair"].numpy()
    assert agree(q, density.mean, density.covariance)
    # Not only two moments: the probability of a quadrant of the whitened draws is 1/4.
    white = (q - density.mean) @ np.linalg.inv(np.linalg.cholesky(density.covariance)).T
    for event, probability in (((white > 0).all(axis=-1), 0.25), (white[..., 0] < 1, ndtr(1.0))):
        assert abs(event.mean() - probability) < 4 * error(event.astype(float))


@short
@pytest.mark.parametrize("metric", ["auto", "low_rank", "dense", np.array([[1.0, 0.999], [0.999, 1.0]])], ids=str)
def test_a_metric_with_correlations_samples_the_same_posterior_in_fewer_steps(monkeypatch, native_gaussian, metric):
    density = native_gaussian(covariance=((1.0, 0.999), (0.999, 1.0)))
    monkeypatch.setattr(mcmc_module, "_compile", lambda kernel, args, kwargs, engine: kernel.model())
    settings = {"num_warmup": 300, "num_samples": 400, "num_chains": 2, "seed": 1, "progress": False}
    plain = MCMC(NUTS(lambda: density, metric="diagonal"), **settings).run()
    other = MCMC(NUTS(lambda: density, metric=metric), **settings).run()
    assert other.stats["n_steps"].mean() < 0.3 * plain.stats["n_steps"].mean()
    assert abs(float(other["mu"].mean()) - 2.0) < 4 * error(other["mu"].numpy())
    assert not other.stats["diverging"].any()


@short
def test_the_metric_of_a_posterior_and_of_variances(monkeypatch, native_gaussian):
    density = native_gaussian(covariance=((1e-4, 0.0), (0.0, 1e4)))
    monkeypatch.setattr(mcmc_module, "_compile", lambda kernel, args, kwargs, engine: kernel.model())
    settings = {"num_samples": 400, "num_chains": 2, "seed": 1, "progress": False}
    first = MCMC(NUTS(lambda: density), num_warmup=300, **settings).run()
    for metric in (first, [1e-4, 1e4]):
        again = MCMC(NUTS(lambda: density, metric=metric), num_warmup=50, init=first.unconstrained[:, -1], **settings).run()
        assert again.stats["n_steps"].mean() < 8.0
        assert abs(float(again["mu"].mean()) - 2.0) < 4 * error(again["mu"].numpy())
    with pytest.raises(SamplingError, match=r"`metric` has shape \(3,\), but must have shape \(2,\) or \(2, 2\)"):
        MCMC(NUTS(lambda: density, metric=[1.0, 1.0, 1.0]), **settings).run()
    with pytest.raises(SamplingError, match="variances that are not positive"):
        MCMC(NUTS(lambda: density, metric=[1.0, 0.0]), **settings).run()
    with pytest.raises(SamplingError, match="not a covariance"):
        MCMC(NUTS(lambda: density, metric=[[1.0, 2.0], [2.0, 1.0]]), **settings).run()


@short
@pytest.mark.parametrize("kernel", [kernel for kernel in get_args(TrajectoryKernel) if kernel is not NUTS])
def test_other_kernels_sample_the_posterior(monkeypatch, native_gaussian, kernel):
    density = native_gaussian()
    monkeypatch.setattr(mcmc_module, "_compile", lambda kernel, args, kwargs, engine: kernel.model())
    posterior = MCMC(kernel(lambda: density), num_warmup=300, num_samples=1000, num_chains=3, seed=2, progress=False).run()
    assert agree(posterior["pair"].numpy(), density.mean, density.covariance)
    assert 0.6 < posterior.stats["acceptance_rate"].mean() < 0.99


# Equal bits, or other ones, need no long chains.
FEW = {"num_warmup": 30, "num_samples": 30}


@short
def test_same_seed_same_bits_whatever_the_cores(sampler, gaussian):
    runs = [sampler(gaussian(), num_chains=3, seed=11, cores=cores, **FEW).run() for cores in (1, 2, 3)]
    for other in runs[1:]:
        np.testing.assert_array_equal(runs[0].unconstrained, other.unconstrained)
        np.testing.assert_array_equal(runs[0].warmup.unconstrained, other.warmup.unconstrained)
        for name, values in runs[0].stats.items():
            np.testing.assert_array_equal(values, other.stats[name])


@short
def test_chain_k_of_two_is_chain_k_of_four(sampler, gaussian):
    two, four = (sampler(gaussian(), num_chains=n, seed=5, **FEW).run() for n in (2, 4))
    np.testing.assert_array_equal(two.unconstrained, four.unconstrained[:2])
    assert not np.array_equal(four.unconstrained[2], four.unconstrained[3])


@short
def test_other_seeds_give_other_chains(sampler, gaussian):
    zero, one = (sampler(gaussian(), seed=seed, **FEW).run() for seed in (0, 1))
    assert not np.isclose(zero.unconstrained[1], one.unconstrained[0]).any()


@short
def test_run_may_be_called_again(sampler, gaussian):
    mcmc = sampler(gaussian(), seed=2, **FEW)
    np.testing.assert_array_equal(mcmc.run().unconstrained, mcmc.run().unconstrained)


@short
def test_a_seed_leaves_torchs_generator_alone_and_none_draws_from_it(sampler, gaussian):
    torch.manual_seed(4)
    before = torch.get_rng_state()
    sampler(gaussian(), seed=2, **FEW).run()
    assert torch.equal(torch.get_rng_state(), before)
    first = sampler(gaussian(), seed=None, **FEW).run()
    assert not torch.equal(torch.get_rng_state(), before)
    second = sampler(gaussian(), seed=None, **FEW).run()
    assert not np.array_equal(first.unconstrained, second.unconstrained)
    torch.set_rng_state(before)
    np.testing.assert_array_equal(first.unconstrained, sampler(gaussian(), seed=None, **FEW).run().unconstrained)


@short
def test_the_posterior_holds_sites_statistics_and_warmup(sampler, gaussian):
    density = gaussian()
    posterior = sampler(density, num_warmup=150, num_samples=120).run()
    assert list(posterior) == ["mu", "s", "pair", "constant", "positive", "floor"]
    assert posterior["pair"].shape == (2, 120, 2)
    assert posterior["mu"].dtype == posterior["constant"].dtype == torch.float64
    assert (posterior["positive"].dtype, posterior["floor"].dtype) == (torch.bool, torch.int64)
    assert torch.equal(posterior["s"], posterior["pair"][..., 1].exp())
    assert posterior.warmup["mu"].shape == (2, 150)
    assert posterior.warmup.stats["tuning"].all()
    assert not posterior.stats["tuning"].any()
    wanted = "lp acceptance_rate diverging energy energy_error n_steps step_size tree_depth tuning"
    assert set(posterior.stats) == {*wanted.split(), "reached_max_treedepth"}
    lp = np.array([[density.value_and_grad(q)[0] for q in chain] for chain in posterior.unconstrained])
    np.testing.assert_allclose(posterior.stats["lp"], lp, rtol=1e-12, atol=1e-12)
    # The step size moves while the warm-up adapts it.
    assert posterior.warmup.stats["step_size"].std() > 0
    assert 0.6 < posterior.stats["acceptance_rate"].mean() < 0.97
    assert (posterior.stats["n_steps"] < 2 ** (posterior.stats["tree_depth"] + 1)).all()
    assert posterior.latents == ("mu", "s")
    assert posterior.observed["y"].tolist() == [1.0, 2.0, 3.0]


@short
@pytest.mark.parametrize("num_warmup", [1, 2, 15])
def test_hardly_any_warmup(sampler, gaussian, num_warmup):
    density = gaussian(covariance=((1.0, 0.0), (0.0, 1.0)), mean=(0.0, 0.0))
    posterior = sampler(density, num_warmup=num_warmup, num_samples=1).run()
    assert posterior["mu"].shape == (2, 1)
    assert posterior.warmup["pair"].shape == (2, num_warmup, 2)
    assert np.isnan(posterior.summary()["mu"]["r_hat"])


@pytest.mark.parametrize(
    ("setting", "found", "expected"),
    [
        ("num_chains", 0, "an integer of at least 1"),
        ("num_chains", 2.0, "an integer of at least 1"),
        ("num_chains", True, "an integer of at least 1"),
        ("num_samples", 0, "an integer of at least 1"),
        ("num_samples", -5, "an integer of at least 1"),
        ("num_warmup", 0, "an integer of at least 1"),
        ("num_warmup", -1, "an integer of at least 1"),
        ("cores", 0, "an integer of at least 1"),
        ("seed", -1, "an integer of at least 0"),
        ("seed", "a", "an integer of at least 0"),
        ("engine", "gpu", "'native', 'torch', 'eager' or None"),
        ("engine", ["native"], "'native', 'torch', 'eager' or None"),
        ("progress", "yes", "True, False or None"),
    ],
)
def test_settings_out_of_range(setting, found, expected):
    message = f"`{setting}` is {found!r}, but must be {expected}: "
    with pytest.raises(SamplingError, match="^" + re.escape(message) + ".+"):
        MCMC(NUTS(lambda: None), **{setting: found})


def test_a_program_without_its_kernel():
    with pytest.raises(SamplingError, match=r"`kernel` is .+ but must be a kernel: give `NUTS"):
        MCMC(lambda: None)


@short
def test_init_is_used_exactly(sampler, gaussian):
    density = gaussian()
    posterior = sampler(density, init=[0.25, 0.5], cores=1, **FEW).run()
    assert all(np.array_equal(q, [0.25, 0.5]) for q in density.evaluations[:2])
    given = posterior.unconstrained[:, -1]
    again = gaussian()
    sampler(again, init=given, cores=1, **FEW).run()
    assert np.array_equal(again.evaluations[0], given[0])


def test_init_of_another_shape(sampler, gaussian):
    with pytest.raises(SamplingError, match=r"`init` has shape \(3,\), but must have shape \(2,\) or \(2, 2\)"):
        sampler(gaussian(), init=[0.0, 0.0, 0.0]).run()
