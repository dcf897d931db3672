"""The porting page names what is there, and the programs of a tutorial, ported, give the right answers."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from tests.support.monte_carlo import standard_error
from tests.support.paths import ROOT
from tests.support.peer_distributions import NUMPYRO, PYMC, PYRO

PAGE = (ROOT / "docs" / "porting.md").read_text()
NAMED = sorted(set(re.findall(r"`(su(?:\.\w+)+)`", PAGE)))
THERE = {
    *("sample", "plate", "param", "deterministic", "module", "factor", "clear_param_store", "get_param_store", "set_rng_seed"),
    *("trace", "block", "replay", "mask", "scale", "condition", "reparam", "seed", "lift", "uncondition", "infer_config", "do"),
    *("SVI", "Trace_ELBO", "TraceEnum_ELBO", "Predictive", "MCMC", "NUTS", "HMC", "config_enumerate", "infer_discrete"),
    *("autoguide.AutoNormal", "autoguide.AutoDelta", "autoguide.AutoMultivariateNormal", "reparam.LocScaleReparam"),
    *("PyroModule", "PyroSample", "PyroParam", "Adam", "ClippedAdam", "Delta", "Messenger", "render_model", "markov"),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_the_page_names_exists(name: str) -> None:
    value: object = su
    for part in name.split(".")[1:]:
        value = getattr(value, part)


def test_the_page_has_every_name_that_is_much_used() -> None:
    first = " ".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `"))
    assert {name for name in THERE if f"`{name}`" not in first} == set()
    assert len(NAMED) > 50


def distributions() -> tuple[set[str], dict[str, tuple[str, str]]]:
    """The names that the page says are the same, and for each other one what is there, and the note."""
    section = PAGE.split("\n## Distributions\n")[1].split("\nOf Stan's:\n")[0]
    same, table = section.split("| there | here | note |")
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    others = {name: (row[1], row[2].strip(" |")) for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    listed = same.split("`su.distributions`:")[1].split("Arguments are")[0]
    return set(re.findall(r"`(\w+)`", listed)), others


@pytest.mark.parametrize("library", [PYRO, NUMPYRO, PYMC], ids=["pyro", "numpyro", "pymc"])
def test_the_page_answers_every_distribution_of_other_libraries(library: list[str]) -> None:
    same, others = distributions()
    assert same <= set(dist.__all__)
    assert not same & others.keys()
    assert set(library) - same - others.keys() == set()
    for name in set(library) & others.keys():
        assert name not in dist.__all__
        here, note = others[name]
        assert "`su." in here or here == "the name without its ending" or (here == "—" and len(note) > 10)


def sampled(program: object, *args: object, draws: int = 1000) -> su.Posterior:
    kernel = su.infer.NUTS(program)  # type: ignore[arg-type]
    mcmc = su.infer.MCMC(kernel, num_warmup=500, num_samples=draws, num_chains=4, seed=0, progress=False)
    return mcmc.run(*args)


def agrees(draws: Tensor, mean: float, sd: float) -> None:
    """Four Monte-Carlo errors; that of an sd is below that of the mean for normal draws."""
    error = 4 * standard_error(draws.numpy())
    assert abs(float(draws.mean()) - mean) < error
    assert abs(float(draws.std()) - sd) < error


def scale(guess: float) -> Tensor:
    weight = su.sample("weight", dist.Normal(guess, 1.0))
    return su.sample("measurement", dist.Normal(weight, 0.75))


# Two precisions add up: 1 and 1 / 0.75².
PRECISION = 1 + 1 / 0.75**2
EXACT = ((8.5 + 9.5 / 0.75**2) / PRECISION, PRECISION**-0.5)


def test_introduction_by_nuts() -> None:
    conditioned = su.poutine.condition(scale, data={"measurement": torch.tensor(9.5)})
    agrees(sampled(conditioned, 8.5)["weight"], *EXACT)


def test_introduction_by_svi() -> None:
    def guide(guess: float) -> Tensor:
        a = su.param("a", torch.tensor(guess))
        b = su.param("b", torch.tensor(1.0), constraint=constraints.positive)
        return su.sample("weight", dist.Normal(a, b))

    conditioned = su.condition(scale, data={"measurement": torch.tensor(9.5)})
    svi = su.infer.SVI(conditioned, guide, su.optim.Adam({"lr": 0.02}), su.infer.Trace_ELBO(num_particles=20), seed=0)
    svi.run(600, 8.5)
    # The guide's family holds the posterior: at the optimum the gradient's noise vanishes with the pathwise score left over,
    # Adam's step of 0.02 keeps it within a few steps of there.
    assert abs(float(svi.params["a"].detach()) - EXACT[0]) < 0.06
    assert abs(float(svi.params["b"].detach()) - EXACT[1]) < 0.06


def test_prior_and_posterior_prediction() -> None:
    """The next measurement has the variances of weight and scale together."""
    prior = su.infer.Predictive(scale, num_samples=4000, seed=0)(8.5)["measurement"]
    assert abs(float(prior.mean()) - 8.5) < 4 * 1.25 / 4000**0.5
    posterior = sampled(su.condition(scale, data={"measurement": torch.tensor(9.5)}), 8.5)
    again = su.infer.Predictive(scale, posterior, seed=1)(8.5)["measurement"].flatten()
    sd = (EXACT[1] ** 2 + 0.75**2) ** 0.5
    assert abs(float(again.mean()) - EXACT[0]) < 4 * sd / 1000**0.5
    assert abs(float(again.std()) - sd) < 4 * sd / 1000**0.5


def test_bayesian_regression_as_a_lifted_linear_layer() -> None:
    """With a known sigma the posterior of a linear layer under normal priors is normal, in closed form."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, 2, generator=generator)
    y = x @ torch.tensor([1.0, -2.0]) + 0.5 + 0.5 * torch.randn(40, generator=generator)
    net = torch.nn.Linear(2, 1)

    def regression(x: Tensor, y: Tensor) -> None:
        mean = su.module("linear", net)(x).squeeze(-1)
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(mean, 0.5), obs=y)

    posterior = sampled(su.lift(regression, {"linear.**": dist.Normal(0.0, 10.0)}), x, y)
    design = torch.cat([x, torch.ones(40, 1)], 1).double()
    covariance = torch.linalg.inv(design.T @ design / 0.25 + torch.eye(3, dtype=torch.float64) / 100)
    mean = covariance @ design.T @ y.double() / 0.25
    draws = torch.cat([posterior["linear.weight"].squeeze(-2), posterior["linear.bias"]], -1)
    for k in range(3):
        agrees(draws[..., k], float(mean[k]), float(covariance[k, k]) ** 0.5)


def test_a_mixture_summed_out() -> None:
    """Two components with known spread: the posterior of the share is a polynomial, integrated on a grid."""
    y = torch.tensor([0.0, 1.0, 10.0, 11.0, 12.0])

    def mixture(y: Tensor) -> None:
        share = su.sample("share", dist.Beta(2.0, 2.0))
        components = dist.Normal(torch.tensor([1.0, 11.0]), 2.0)
        which = dist.Categorical(torch.stack([share, 1 - share]))
        with su.plate("data", len(y)):
            su.sample("y", dist.MixtureSameFamily(which, components), obs=y)

    grid = torch.linspace(0, 1, 2001, dtype=torch.float64)[1:-1]
    low, high = (dist.Normal(mean, 2.0).log_prob(y.double()).exp() for mean in (1.0, 11.0))
    weights = (grid[:, None] * low + (1 - grid[:, None]) * high).prod(-1) * grid * (1 - grid)
    weights /= weights.sum()
    mean = float(weights @ grid)
    agrees(sampled(mixture, y)["share"], mean, float(weights @ (grid - mean) ** 2) ** 0.5)


def test_a_hidden_markov_chain_summed_out_by_scan() -> None:
    """The forward algorithm equals the sum over all 2⁶ paths."""
    y = torch.tensor([0.1, -0.3, 2.1, 1.9, 0.2, 2.2])
    stay = torch.tensor([0.8, 0.6])
    transition = torch.stack([torch.stack([stay[0], 1 - stay[0]]), torch.stack([1 - stay[1], stay[1]])])

    def chain(y: Tensor) -> None:
        means = su.sample("means", dist.Normal(torch.tensor([0.0, 2.0]), 1.0).to_event(1))
        emission = dist.Normal(means, 0.5).log_prob(y[:, None])

        def step(ahead: Tensor, now: Tensor) -> tuple[Tensor, None]:
            return now + (ahead[:, None] + transition.log()).logsumexp(0), None

        ahead, _ = su.scan(step, emission[0] - np.log(2.0), emission[1:])
        su.factor("y", ahead.logsumexp(0))

    at = torch.tensor([0.2, 1.7])
    given = su.trace(su.substitute(chain, data={"means": at})).get_trace(y)
    total = 0.0
    for states in itertools.product(range(2), repeat=len(y)):
        path = 0.5 * np.prod([float(transition[a, b]) for a, b in itertools.pairwise(states)])
        total += path * float(dist.Normal(at[list(states)], 0.5).log_prob(y).sum().exp())
    assert abs(float(given["y"].value) - np.log(total)) < 1e-5
    density = su.infer.LogDensity(chain, (y,))
    prior = float(dist.Normal(torch.tensor([0.0, 2.0]), 1.0).log_prob(at).sum())
    assert abs(float(density(at.double())) - (np.log(total) + prior)) < 1e-5


def test_plates_and_subsampling_scale_as_there() -> None:
    """A batch of 10 of 100: the likelihood counts ten times, the lifted global parameter once."""
    data = torch.arange(100.0)

    def model() -> None:
        mu = su.param("mu", torch.tensor(1.0))
        with su.plate("data", len(data), subsample=torch.arange(10)) as index:
            su.sample("y", dist.Normal(mu, 1.0), obs=data[index])

    lifted = su.substitute(su.lift(model, {"mu": dist.Normal(0.0, 1.0)}), data={"mu": torch.tensor(2.0)})
    trace = su.trace(lifted).get_trace()
    likelihood = 10 * dist.Normal(2.0, 1.0).log_prob(data[:10]).sum()
    prior = dist.Normal(0.0, 1.0).log_prob(torch.tensor(2.0))
    assert torch.allclose(trace.log_prob_sum(), likelihood + prior)


def test_what_is_observed_in_part_goes_on_with_draws() -> None:
    """As the page says it: y is N(0, 2) where x was not seen, and N(x, 1) where it was."""
    n = 20000
    data, seen = torch.full((2 * n,), 3.0), torch.arange(2 * n) < n

    def partly_observed() -> Tensor:
        with su.plate("data", 2 * n):
            drawn = su.sample("x_unobserved", dist.Normal(0.0, 1.0))
            su.sample("x_observed", dist.Normal(0.0, 1.0).mask(seen), obs=data)
            return su.sample("y", dist.Normal(torch.where(seen, data, drawn), 1.0))

    y = su.seed(partly_observed, 0)()
    for part, mean, variance in ((y[:n], 3.0, 1.0), (y[n:], 0.0, 2.0)):
        assert float(part.mean()) == pytest.approx(mean, abs=4.5 * (variance / n) ** 0.5)
        assert float(part.var()) == pytest.approx(variance, abs=4.5 * variance * (2 / n) ** 0.5)
