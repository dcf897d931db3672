"""Markov chain Monte Carlo: `MCMC(NUTS(program)).run(*args)` gives a `Posterior`.

`nuts` has the sampler's settings, `start` finds where chains begin, `chain_pool` runs them, `to_posterior` joins their draws.
Imports `posterior`, `compiler` and below; `studies`, `show` and `infer` import it.
"""

from sursum.mcmc.mcmc import MCMC
from sursum.mcmc.nutpie_door import Progress
from sursum.mcmc.nuts import NUTS
from sursum.mcmc.run import Interrupted, Run
from sursum.mcmc.until import Until, ess, minutes, rhat

__all__ = ["MCMC", "NUTS", "Interrupted", "Progress", "Run", "Until", "ess", "minutes", "rhat"]
