"""Inference: a log density from a program, and samplers for it."""

from sursum.compiler.compiled import compile_density
from sursum.density import LogDensity
from sursum.infer import reparam
from sursum.mcmc import MCMC, NUTS

__all__ = ["MCMC", "NUTS", "LogDensity", "compile_density", "reparam"]
