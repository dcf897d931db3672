"""Inference: a log density from a program, optimisers and samplers for it, and guides fitted to it."""

import sys
from typing import TYPE_CHECKING, NoReturn

from sursum.common.elsewhere import elsewhere
from sursum.common.other_libraries import refuse_name
from sursum.compiler.compiled import compile_density
from sursum.density.log_density import LogDensity
from sursum.infer import autoguide, reparam
from sursum.mcmc import MCMC, NUTS, Interrupted, Run
from sursum.optimise import Fit, Pathfinder, fit, laplace
from sursum.predict.log_likelihood import log_likelihood
from sursum.predict.module_ensemble import ModuleEnsemble
from sursum.predict.prediction import Prediction
from sursum.predict.predictive import Predictive
from sursum.sbc.sbc import SBC, sbc
from sursum.vi import SVI, EarlyStopping, RenyiELBO, SVIResult, Trace_ELBO, TraceMeanField_ELBO
from sursum.vi.importance import Importance

__all__ = [
    "MCMC",
    "NUTS",
    "SBC",
    "SVI",
    "EarlyStopping",
    "Fit",
    "Importance",
    "Interrupted",
    "LogDensity",
    "ModuleEnsemble",
    "Pathfinder",
    "Prediction",
    "Predictive",
    "RenyiELBO",
    "Run",
    "SVIResult",
    "TraceMeanField_ELBO",
    "Trace_ELBO",
    "autoguide",
    "compile_density",
    "fit",
    "laplace",
    "log_likelihood",
    "reparam",
    "sbc",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> NoReturn:
        """Of a name that does not exist, what to write."""
        refuse_name(sys.modules[__name__], name, elsewhere(name, {"infer.autoguide": autoguide, "infer.reparam": reparam}))
