"""Quiet and busy hours of a counter: a hidden Markov chain, whose states are summed out, and decoded afterwards.

The states are sites of a scan. Densities sum them out by the forward algorithm, one loop of C; given the draws of the rates
and of the transitions, `infer_discrete` gives the most probable path, `discrete_probabilities` how probable each state is.

    python examples/hidden_markov.py    # prints the rates and how well the path is found, writes out/hidden_markov.png
"""

from __future__ import annotations

import torch
from tools import options, picture
from torch import Tensor

import sursum as su
import sursum.distributions as dist

RATES = torch.tensor([2.0, 6.0, 15.0])
STAYS = torch.tensor([[0.95, 0.04, 0.01], [0.05, 0.90, 0.05], [0.02, 0.08, 0.90]])


def simulate(hours: int = 150, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The true states, and the number of customers in each hour."""
    generator = torch.Generator().manual_seed(seed)
    states = [0]
    for _ in range(hours - 1):
        states.append(int(torch.multinomial(STAYS[states[-1]], 1, generator=generator)))
    path = torch.tensor(states)
    return path, torch.poisson(RATES[path], generator=generator)


def counter(customers: Tensor) -> None:
    """The program: each hour has a state, which depends on that of the hour before, and the state a rate."""
    rise = su.sample("rise", dist.Gamma(torch.tensor([4.0, 8.0, 18.0]), 2.0).to_event(1))
    rates = su.deterministic("rates", rise.cumsum(-1), event_dim=1)  # in order: the states have names
    stays = su.sample("stays", dist.Dirichlet(torch.ones(3, 3) + 8 * torch.eye(3)).to_event(1))

    def hour(state: Tensor, customers: Tensor) -> tuple[Tensor, None]:
        state = su.sample("state", dist.Categorical(stays[state]))
        su.sample("customers", dist.Poisson(rates[state]), obs=customers)
        return state, None

    su.scan(hour, torch.tensor(0), customers)


def posterior(customers: Tensor, draws: int = 1000) -> su.Posterior:
    """The rates and the transitions; the states are not part of it."""
    return su.infer.MCMC(su.infer.NUTS(counter), num_warmup=draws, num_samples=draws, num_chains=4, seed=0).run(customers)


def main() -> su.Posterior:
    chosen = options(__doc__)
    path, customers = simulate()
    found = posterior(customers, chosen.draws)
    print(found.summary(["rates"]))
    best = su.infer.infer_discrete(found, temperature=0)["state"].flatten(0, 1).mode(0).values
    print(f"\nThe most probable path has {int((best == path).sum())} of {len(path)} hours right.")
    probabilities = su.infer.discrete_probabilities(found)["state"].mean((0, 1))
    rate = probabilities @ found["rates"].mean((0, 1))
    with picture(chosen.out / "hidden_markov.png") as axes:
        hours = range(len(customers))
        axes.bar(hours, customers.numpy(), width=1.0, color="0.8", label="customers")
        axes.step(hours, RATES[path].numpy(), where="mid", color="0.3", linewidth=1, label="true rate")
        axes.plot(hours, rate.numpy(), color="C0", label="posterior mean of the rate")
        axes.set(xlabel="hour", ylabel="customers (per hour)")
        axes.legend(frameon=False)
    return found


if __name__ == "__main__":
    main()
