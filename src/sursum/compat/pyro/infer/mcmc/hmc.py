"""`HMC`, where Pyro has it."""

from sursum.compat.pyro.infer.mcmc.kernels import HMC

__all__ = ["HMC"]
