"""Three series: an autoregression, a GARCH recursion, and a hidden Markov chain summed out."""

from __future__ import annotations

import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from benchmarks.posteriordb.case import Case, Data
from sursum.distributions import constraints


def autoregression(y: Tensor, order: int) -> None:
    """y_t on its `order` values before, the first of which are given."""
    alpha = su.param("alpha", y.new_zeros(()))
    beta = su.param("beta", y.new_zeros(order))
    sigma = su.param("sigma", y.new_ones(()), constraint=constraints.positive)
    before = y.unfold(0, order, 1)[:-1].flip(1)
    with su.plate("step", len(before)):
        su.sample("y", dist.Normal(alpha + before @ beta, sigma), obs=y[order:])


def garch(y: Tensor, sigma1: Tensor) -> None:
    """A constant mean, and a variance that follows the last shock and itself. (alpha1, beta1) lie in a triangle."""
    mu = su.param("mu", y.mean())
    alpha0 = su.param("alpha0", y.var() / 2, constraint=constraints.positive)
    alpha1 = su.param("alpha1", y.new_tensor(0.3), constraint=constraints.unit_interval)
    room = 1 - alpha1
    beta1 = su.param("beta1", 0.5 * room, constraint=constraints.interval(torch.zeros_like(room), room))

    def step(variance: Tensor, shock: Tensor) -> tuple[Tensor, Tensor]:
        variance = alpha0 + alpha1 * shock + beta1 * variance
        return variance, variance

    first = sigma1.square()
    _, later = su.scan(step, first, (y[:-1] - mu).square())
    scale = torch.cat([first[None], later]).sqrt()
    with su.plate("step", len(y)):
        su.sample("y", dist.Normal(mu, scale), obs=y)


def hidden_markov(y: Tensor) -> None:
    """Two states with normal emissions of unit variance, and means in order; the path is summed out."""
    transition = torch.stack([su.param(f"theta{k}", y.new_full((2,), 0.5), constraint=constraints.simplex) for k in (1, 2)])
    mu = su.param("mu", y.new_tensor([3.0, 10.0]), constraint=constraints.positive_ordered)
    first = su.sample("first", dist.Categorical(y.new_full((2,), 0.5)))
    su.sample("y_first", dist.Normal(mu[first], 1.0), obs=y[0])

    def step(state: Tensor, now: Tensor) -> tuple[Tensor, None]:
        state = su.sample("state", dist.Categorical(transition[state]))
        su.sample("y", dist.Normal(mu[state], 1.0), obs=now)
        return state, None

    su.scan(step, first, y[1:])


def near(means: Tensor) -> dist.Distribution:
    """One normal around 3, and one around 10, given that they are positive and in order."""
    each = dist.Normal(torch.tensor([3.0, 10.0], dtype=torch.float64), 1.0)
    return dist.CustomDist(lambda mu: each.log_prob(mu).sum(-1), support=constraints.positive_ordered, event_shape=(2,))


def _ark(data: Data) -> tuple[Tensor, int]:
    return data["y"], int(data["K"])


AR_PRIORS = {"sigma": dist.HalfCauchy(2.5), "*": dist.Normal(0.0, 10.0)}

CASES = [
    Case("arK-arK", su.lift(autoregression, AR_PRIORS), _ark),
    Case("garch-garch11", su.lift(garch, su.priors.flat), lambda data: (data["y"], data["sigma1"]), target_accept=0.9),
    Case("hmm_example-hmm_example", su.lift(hidden_markov, {"mu": near, "*": su.priors.flat}), lambda data: (data["y"],)),
]
