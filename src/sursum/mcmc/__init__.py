"""Markov chain Monte Carlo: `MCMC(NUTS(program)).run(*args)` gives a `Posterior`.

`nuts` has the sampler's settings, `start` finds where chains begin, `chain_pool` runs them, `to_posterior` joins their draws.
Imports `posterior`, `compiler` and below; `studies`, `show` and `infer` import it.
"""

from sursum.mcmc.discrete_gibbs import DiscreteGibbs
from sursum.mcmc.hmc import HMC
from sursum.mcmc.mcmc import MCMC
from sursum.mcmc.nuts import NUTS
from sursum.mcmc.run import Interrupted, Run
from sursum.mcmc.trace import Progress
from sursum.mcmc.until import Until, ess, minutes, rhat
from sursum.mcmc.walnuts import WALNUTS

__all__ = [
    "HMC",
    "MCMC",
    "NUTS",
    "WALNUTS",
    "DiscreteGibbs",
    "Interrupted",
    "Progress",
    "Run",
    "Until",
    "ess",
    "minutes",
    "rhat",
]
