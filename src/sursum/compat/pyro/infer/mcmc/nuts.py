"""`NUTS`, where Pyro has it."""

from sursum.compat.pyro.infer.mcmc.kernels import NUTS

__all__ = ["NUTS"]
