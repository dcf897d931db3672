"""Pyro's samplers.

Imports sursum's public names and `poutine`; `sursum.compat.pyro.infer` imports it.
"""

from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.infer.mcmc import api, kernels, util
from sursum.compat.pyro.infer.mcmc.api import MCMC
from sursum.compat.pyro.infer.mcmc.kernels import HMC, NUTS
from sursum.compat.pyro.infer.mcmc.util import initialize_model

__all__ = ["HMC", "MCMC", "NUTS", "api", "initialize_model", "kernels", "util"]

__getattr__ = refusing(
    "pyro.infer.mcmc",
    __all__,
    {
        "ArrowheadMassMatrix": "write NUTS(model, full_mass=True)",
        "BlockMassMatrix": "write NUTS(model, full_mass=True)",
        "StreamingMCMC": "write su.infer.MCMC(…, store='run.zarr'), which writes draws as they are made",
        "RandomWalkKernel": "write NUTS(model)",
    },
)
