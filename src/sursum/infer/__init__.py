"""Inference: a log density from a program, optimisers and samplers for it."""

from sursum.compiler.compiled import compile_density
from sursum.density import LogDensity
from sursum.infer import reparam
from sursum.mcmc import MCMC, NUTS
from sursum.optimise import Fit, fit

__all__ = ["MCMC", "NUTS", "Fit", "LogDensity", "compile_density", "fit", "reparam"]
