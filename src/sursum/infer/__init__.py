"""Inference: a log density from a program, optimisers and samplers for it."""

from sursum.compiler.compiled import compile_density
from sursum.density import LogDensity
from sursum.infer import reparam
from sursum.log_likelihood import log_likelihood
from sursum.mcmc import MCMC, NUTS
from sursum.optimise import Fit, fit
from sursum.prediction import Prediction
from sursum.predictive import Predictive

__all__ = [
    "MCMC",
    "NUTS",
    "Fit",
    "LogDensity",
    "Prediction",
    "Predictive",
    "compile_density",
    "fit",
    "log_likelihood",
    "reparam",
]
