"""Discrete sites drawn beside the others: against exact posteriors, in stores, and what is said where there are none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from tests.support.monte_carlo import error

import sursum as su
import sursum.distributions as dist
from sursum.errors import DensityError, SamplingError
from sursum.infer import MCMC, NUTS, DiscreteGibbs
from sursum.posterior.posterior import Posterior

pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")

SETTINGS = {"num_warmup": 200, "num_samples": 1000, "num_chains": 2, "seed": 0, "progress": False}


def counts(y):
    """y of n trials are seen with probability p; how many there are is not known."""
    p = su.sample("p", dist.Beta(8.0, 8.0))
    with su.plate("place", len(y)):
        n = su.sample("n", dist.Poisson(6.0))
        su.sample("y", dist.Binomial(n, p), obs=y)


Y = torch.tensor([2.0, 0.0, 5.0])


@pytest.fixture(scope="module")
def posterior():
    return MCMC(DiscreteGibbs(NUTS(counts)), **SETTINGS).run(Y)


def thinned(y, size=4000):
    """E[p] and E[n] of `counts` by quadrature: given p, y is Poisson(6 p), and n − y is Poisson(6 (1 − p))."""
    p = (np.arange(size) + 0.5) / size
    log = 7.0 * np.log(p) + 7.0 * np.log1p(-p) + sum(k * np.log(p) - 6.0 * p for k in y)
    weights = np.exp(log - log.max())
    weights /= weights.sum()
    return (weights * p).sum(), np.array([k + 6.0 * (weights * (1.0 - p)).sum() for k in y])


def test_counts_have_their_exact_means(posterior):
    p, n = thinned(Y.tolist())
    assert abs(float(posterior["p"].mean()) - p) < 4.0 * error(posterior["p"].numpy())
    draws = posterior["n"].numpy()
    assert posterior["n"].dtype == torch.float64
    assert (np.abs(draws.mean((0, 1)) - n) < 4.0 * error(draws)).all()
    assert (draws >= Y.numpy()).all()
    assert (draws == draws.round()).all()


def test_the_posterior_knows_the_sites(posterior):
    assert posterior.latents == ("p", "n")
    assert posterior.coordinates == ("p", "n[0]", "n[1]", "n[2]")
    assert posterior.dims["n"] == ("place",)
    again = posterior.predict(seed=0)["y"]
    assert bool((again <= posterior["n"]).all())  # of the trials that were drawn


def entangled(y):
    """Spins in a field whose sum is seen: no element can be summed out without the others."""
    z = su.sample("z", dist.Bernoulli(torch.full((5,), 0.4)).to_event(1))
    su.factor("pairs", 0.5 * ((2.0 * z[1:] - 1.0) * (2.0 * z[:-1] - 1.0)).sum())
    su.sample("y", dist.Normal(z.sum(), 1.0), obs=y)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_elements_that_depend_on_one_another_are_drawn_one_by_one(engine):
    """And a program may have no other sites."""
    found = MCMC(
        DiscreteGibbs(NUTS(entangled), sites="z"),
        engine=engine,
        **SETTINGS | {"num_samples": 600 if engine == "native" else 150},
    ).run(torch.tensor(3.0))
    states = np.array(list(itertools.product([0.0, 1.0], repeat=5)))
    log = (states * np.log(0.4) + (1.0 - states) * np.log(0.6)).sum(1) - 0.5 * (3.0 - states.sum(1)) ** 2
    log += 0.5 * ((2.0 * states[:, 1:] - 1.0) * (2.0 * states[:, :-1] - 1.0)).sum(1)
    weights = np.exp(log) / np.exp(log).sum()
    draws = found["z"].numpy()
    assert (np.abs(draws.mean((0, 1)) - weights @ states) < 4.0 * error(draws)).all()
    together = draws[..., :1] * draws[..., 1:2]
    assert (np.abs(together.mean((0, 1)) - weights @ (states[:, :1] * states[:, 1:2])) < 4.0 * error(together)).all()


def chain(y):
    """A hidden Markov chain, and a vector of labels that is summed out."""
    mu = su.sample("mu", dist.Normal(torch.tensor([-1.0, 1.0]), 0.5).to_event(1))
    kind = su.sample("kind", dist.OneHotCategorical(torch.tensor([0.3, 0.7])))

    def step(z, y):
        z = su.sample("z", dist.Categorical(torch.tensor([[0.8, 0.2], [0.3, 0.7]])[z]))
        su.sample("y", dist.Normal(mu[z] + 0.3 * kind[..., 0], 0.7), obs=y)
        return z, None

    su.scan(step, torch.tensor(0), y)


def test_states_of_a_scan_are_drawn_all_at_once():
    y = torch.tensor([-1.0, -0.2, 0.9, 1.4, -0.7])
    settings = SETTINGS | {"num_samples": 400}
    found = MCMC(DiscreteGibbs(NUTS(chain), sites=["z", "kind"]), **settings).run(y)
    summed = MCMC(NUTS(chain), **settings).run(y)
    wanted = su.infer.discrete_probabilities(summed)
    for name, draws in (("z", found["z"].double()), ("kind", found["kind"])):
        exact = wanted[name][..., 1].numpy() if name == "z" else wanted[name].numpy()
        away = np.abs(draws.mean((0, 1)).numpy() - exact.mean((0, 1)))
        assert (away < 4.0 * np.hypot(error(draws.numpy()), error(exact))).all()
    assert found["kind"].shape == (2, 400, 2)


def test_the_same_seed_gives_the_same_draws_however_it_is_run(posterior, tmp_path):
    mcmc = MCMC(DiscreteGibbs(NUTS(counts)), **SETTINGS | {"num_samples": 500})
    short = mcmc.run(Y)
    np.testing.assert_array_equal(short.unconstrained, posterior.unconstrained[:, :500])
    longer = mcmc.extend(short, 300)
    np.testing.assert_array_equal(longer.unconstrained, posterior.unconstrained[:, :800])
    path = tmp_path / "run.zarr"
    run = MCMC(DiscreteGibbs(NUTS(counts)), store=path, **SETTINGS).start(Y)
    while sum(one.draws for one in run.progress) < 300 and not run.wait(0.0005):
        pass
    run.pause()
    run.stop()
    resumed = mcmc.resume(path, Y)
    np.testing.assert_array_equal(resumed.unconstrained, posterior.unconstrained)
    assert torch.equal(torch.as_tensor(Posterior.load(path)["n"]), posterior["n"])


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(
        DensityError, match=r"latent site 'n'.*is discrete.*infinitely many values.*DiscreteGibbs\(NUTS\(model\)\)"
    ):
        su.compile(counts, Y)
    with pytest.raises(SamplingError, match=r"`sites` names 'm', which is not a site.*There are: 'n'"):
        MCMC(DiscreteGibbs(NUTS(counts), sites=["n", "m"]), **SETTINGS).run(Y)
    with pytest.raises(SamplingError, match="`sites` names 'p', which is no discrete site"):
        MCMC(DiscreteGibbs(NUTS(counts), sites=["n", "p"]), **SETTINGS).run(Y)
    with pytest.raises(SamplingError, match=r"no site to draw.* 'kind', 'z' can be summed out.*sites=\['k'\]"):
        MCMC(DiscreteGibbs(NUTS(chain)), **SETTINGS).run(torch.zeros(2))
    with pytest.raises(SamplingError, match="`kernel` is"):
        DiscreteGibbs(counts)

    def allotted():
        su.sample("z", dist.Multinomial(3, torch.tensor([0.5, 0.5])))

    with pytest.raises(DensityError, match="'z'.*cannot be drawn element by element"):
        MCMC(DiscreteGibbs(NUTS(allotted)), **SETTINGS).run()
