"""Inference: a log density from a program, optimisers and samplers for it, and guides fitted to it.

Public names only. Imports every room; nothing but the package itself imports it.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from sursum.common.elsewhere import elsewhere
from sursum.common.moved import stand_for
from sursum.common.other_libraries import refuse_name
from sursum.density.log_density import LogDensity
from sursum.handlers.config_enumerate import config_enumerate
from sursum.infer import autoguide, reparam
from sursum.mcmc import HMC, MCMC, NUTS, WALNUTS, Interrupted, Progress, Run, Until, ess, minutes, rhat
from sursum.networks import SGHMC, SGLD, SGMCMC, SGNHT, SWAG, DeepEnsemble, MCDropout
from sursum.optimise import Fit, FitResult, Laplace, Pathfinder
from sursum.posterior.discrete import discrete_probabilities, infer_discrete
from sursum.posterior.prior_sensitivity import PriorSensitivity
from sursum.predict.log_likelihood import log_likelihood
from sursum.predict.log_prior import log_prior
from sursum.predict.module_ensemble import ModuleEnsemble
from sursum.predict.prediction import Prediction
from sursum.predict.predictive import Predictive
from sursum.studies.cross_validate import cross_validate
from sursum.studies.cross_validation import CrossValidation
from sursum.studies.ladder import Ladder
from sursum.studies.ladder_result import LadderResult, Rung
from sursum.studies.many import many
from sursum.studies.sbc import SBC
from sursum.studies.sbc_result import SBCResult
from sursum.studies.study import Study, StudyFailure, StudyInterrupted
from sursum.vi import ELBO, SVI, EarlyStopping, RenyiELBO, SVIResult, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from sursum.vi.importance import Importance, ImportanceSamples

__all__ = [
    "ELBO",
    "HMC",
    "MCMC",
    "NUTS",
    "SBC",
    "SGHMC",
    "SGLD",
    "SGMCMC",
    "SGNHT",
    "SVI",
    "SWAG",
    "WALNUTS",
    "CrossValidation",
    "DeepEnsemble",
    "EarlyStopping",
    "Fit",
    "FitResult",
    "Importance",
    "ImportanceSamples",
    "Interrupted",
    "Ladder",
    "LadderResult",
    "Laplace",
    "LogDensity",
    "MCDropout",
    "ModuleEnsemble",
    "Pathfinder",
    "Prediction",
    "Predictive",
    "PriorSensitivity",
    "Progress",
    "RenyiELBO",
    "Run",
    "Rung",
    "SBCResult",
    "SVIResult",
    "Study",
    "StudyFailure",
    "StudyInterrupted",
    "TraceEnum_ELBO",
    "TraceMeanField_ELBO",
    "Trace_ELBO",
    "Until",
    "autoguide",
    "config_enumerate",
    "cross_validate",
    "discrete_probabilities",
    "ess",
    "infer_discrete",
    "log_likelihood",
    "log_prior",
    "many",
    "minutes",
    "reparam",
    "rhat",
]

if not TYPE_CHECKING:
    _MOVED = {
        "fit": stand_for("fit", "Fit", Fit.__dataclass_fields__),
        "laplace": stand_for("laplace", "Laplace", Laplace.__dataclass_fields__),
        "sbc": stand_for("sbc", "SBC", {*SBC.__dataclass_fields__, "num_draws"}, {"num_draws": "max_rank", "kwargs": "**"}),
    }

    def __getattr__(name: str) -> Callable[..., NoReturn]:
        """Of a name that does not exist, what to write."""
        if name in _MOVED:
            return _MOVED[name]
        places = {"infer.autoguide": autoguide, "infer.reparam": reparam}
        return refuse_name(sys.modules[__name__], name, elsewhere(name, places))
