"""Markov chain Monte Carlo: `MCMC(NUTS(program)).run(*args)` gives a `Posterior`."""

from sursum.mcmc.mcmc import MCMC
from sursum.mcmc.nuts import NUTS
from sursum.mcmc.run import Interrupted, Run

__all__ = ["MCMC", "NUTS", "Interrupted", "Run"]
