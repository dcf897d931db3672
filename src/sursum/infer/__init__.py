"""Inference: a log density from a program, optimisers and samplers for it, and guides fitted to it.

Public names only. Imports every room; nothing but the package itself imports it.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from sursum.common.elsewhere import elsewhere
from sursum.common.late_names import LateNames
from sursum.common.moved import stand_for
from sursum.common.other_libraries import refuse_name
from sursum.density.log_density import LogDensity
from sursum.handlers.config_enumerate import config_enumerate
from sursum.mcmc import HMC, MCMC, NUTS, WALNUTS, DiscreteGibbs, Interrupted, Progress, Run, Until, ess, minutes, rhat
from sursum.mcmc.coordinates import Pilot, ReparamChoice, SiteChoice
from sursum.posterior.discrete import discrete_probabilities, infer_discrete
from sursum.posterior.prior_sensitivity import PriorSensitivity
from sursum.predict.log_likelihood import log_likelihood
from sursum.predict.log_prior import log_prior
from sursum.predict.module_ensemble import ModuleEnsemble
from sursum.predict.prediction import Prediction
from sursum.predict.predictive import Predictive

if TYPE_CHECKING:  # the others are imported when they are asked for: no run needs all of them
    from sursum.infer import autoguide, reparam
    from sursum.networks import SGHMC, SGLD, SGMCMC, SGNHT, SWAG, DeepEnsemble, MCDropout
    from sursum.optimise import Fit, FitResult, Laplace, Pathfinder
    from sursum.studies.calibration import Calibrated, coverage, reliability
    from sursum.studies.compare import Comparison, compare
    from sursum.studies.cross_validate import cross_validate
    from sursum.studies.cross_validation import CrossValidation
    from sursum.studies.ladder import Ladder
    from sursum.studies.ladder_result import LadderResult, Rung
    from sursum.studies.loo_pit import LooPit, loo_pit
    from sursum.studies.many import many
    from sursum.studies.recovery import Recovery, RecoveryResult
    from sursum.studies.reparam_search import ReparamSearch
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
    "Calibrated",
    "Comparison",
    "CrossValidation",
    "DeepEnsemble",
    "DiscreteGibbs",
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
    "LooPit",
    "MCDropout",
    "ModuleEnsemble",
    "Pathfinder",
    "Pilot",
    "Prediction",
    "Predictive",
    "PriorSensitivity",
    "Progress",
    "Recovery",
    "RecoveryResult",
    "RenyiELBO",
    "ReparamChoice",
    "ReparamSearch",
    "Run",
    "Rung",
    "SBCResult",
    "SVIResult",
    "SiteChoice",
    "Study",
    "StudyFailure",
    "StudyInterrupted",
    "TraceEnum_ELBO",
    "TraceMeanField_ELBO",
    "Trace_ELBO",
    "Until",
    "autoguide",
    "compare",
    "config_enumerate",
    "coverage",
    "cross_validate",
    "discrete_probabilities",
    "ess",
    "infer_discrete",
    "log_likelihood",
    "log_prior",
    "loo_pit",
    "many",
    "minutes",
    "reliability",
    "reparam",
    "rhat",
]

if not TYPE_CHECKING:
    _LATE = LateNames(
        __name__,
        {
            "sursum.infer.autoguide": ("autoguide",),
            "sursum.infer.reparam": ("reparam",),
            "sursum.networks": ("SGHMC", "SGLD", "SGMCMC", "SGNHT", "SWAG", "DeepEnsemble", "MCDropout"),
            "sursum.optimise": ("Fit", "FitResult", "Laplace", "Pathfinder"),
            "sursum.studies.calibration": ("Calibrated", "coverage", "reliability"),
            "sursum.studies.compare": ("Comparison", "compare"),
            "sursum.studies.cross_validate": ("cross_validate",),
            "sursum.studies.cross_validation": ("CrossValidation",),
            "sursum.studies.ladder": ("Ladder",),
            "sursum.studies.ladder_result": ("LadderResult", "Rung"),
            "sursum.studies.loo_pit": ("LooPit", "loo_pit"),
            "sursum.studies.many": ("many",),
            "sursum.studies.recovery": ("Recovery", "RecoveryResult"),
            "sursum.studies.reparam_search": ("ReparamSearch",),
            "sursum.studies.sbc": ("SBC",),
            "sursum.studies.sbc_result": ("SBCResult",),
            "sursum.studies.study": ("Study", "StudyFailure", "StudyInterrupted"),
            "sursum.vi": ("ELBO", "SVI", "SVIResult", "EarlyStopping"),
            "sursum.vi.renyi_elbo": ("RenyiELBO",),
            "sursum.vi.trace_elbo": ("Trace_ELBO",),
            "sursum.vi.traceenum_elbo": ("TraceEnum_ELBO",),
            "sursum.vi.mean_field_elbo": ("TraceMeanField_ELBO",),
            "sursum.vi.importance": ("Importance", "ImportanceSamples"),
        },
    )

    def _moved(name: str) -> Callable[..., NoReturn] | None:
        """What stands for a function that is a class now."""
        if name not in ("fit", "laplace", "sbc"):
            return None
        new, more, renamed = {
            "fit": ("Fit", (), {}),
            "laplace": ("Laplace", (), {}),
            "sbc": ("SBC", ("num_draws",), {"num_draws": "max_rank", "kwargs": "**"}),
        }[name]
        return stand_for(name, new, {*_LATE.load(new).__dataclass_fields__, *more}, renamed)

    def __getattr__(name: str) -> Any:
        """A name that is imported now; of one that does not exist, what to write."""
        if name in _LATE:
            return _LATE.load(name)
        if (stand_in := _moved(name)) is not None:
            return stand_in
        places = {f"infer.{place}": _LATE.load(place) for place in ("autoguide", "reparam")}
        return refuse_name(sys.modules[__name__], name, elsewhere(name, places))

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
