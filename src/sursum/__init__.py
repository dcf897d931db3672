"""sursum: lift the parameters of a PyTorch program, from outside, and sample its posterior at the speed of C."""

import sys
from typing import TYPE_CHECKING, Any

from sursum import cluster, distributed, distributions, gp, handlers, infer, ops, optim, poutine, priors
from sursum.common.elsewhere import elsewhere
from sursum.common.late_names import LateNames
from sursum.common.other_libraries import refuse_name
from sursum.compiler.benchmark import Benchmark
from sursum.compiler.check.gradient import GradientCheck
from sursum.compiler.compiled import CompiledDensity, check, compile
from sursum.core.module import module
from sursum.core.primitives import deterministic, factor, param, sample, subsample
from sursum.core.scan import scan
from sursum.core.trace import Trace
from sursum.core.validation import enable_validation, is_validation_enabled, validation_enabled
from sursum.draws.draws import Draws
from sursum.draws.summary import Summary
from sursum.handlers import (
    ParamStore,
    block,
    condition,
    do,
    lift,
    markov,
    mask,
    plate,
    random_module,
    reparam,
    replay,
    reprior,
    scale,
    scope,
    seed,
    substitute,
    trace,
    uncondition,
)
from sursum.handlers.logp import logp
from sursum.ode import odeint
from sursum.posterior.posterior import Posterior

if TYPE_CHECKING:  # imported when they are asked for
    from sursum.show.render import Rendering, render
    from sursum.show.report import Report, report

__version__ = "0.1.0"

__all__ = [
    "Benchmark",
    "CompiledDensity",
    "Draws",
    "GradientCheck",
    "ParamStore",
    "Posterior",
    "Rendering",
    "Report",
    "Summary",
    "Trace",
    "block",
    "check",
    "cluster",
    "compile",
    "condition",
    "deterministic",
    "distributed",
    "distributions",
    "do",
    "enable_validation",
    "factor",
    "gp",
    "handlers",
    "infer",
    "is_validation_enabled",
    "lift",
    "logp",
    "markov",
    "mask",
    "module",
    "odeint",
    "ops",
    "optim",
    "param",
    "plate",
    "poutine",
    "priors",
    "random_module",
    "render",
    "reparam",
    "replay",
    "report",
    "reprior",
    "sample",
    "scale",
    "scan",
    "scope",
    "seed",
    "subsample",
    "substitute",
    "trace",
    "uncondition",
    "validation_enabled",
]

if not TYPE_CHECKING:
    _LATE = LateNames(__name__, {"sursum.show.render": ("Rendering", "render"), "sursum.show.report": ("Report", "report")})

    def __getattr__(name: str) -> Any:
        """A name that is imported now; for one that does not exist, say what to write instead."""
        if name in _LATE:
            return _LATE.load(name)
        places = {"infer": infer, "infer.autoguide": infer.autoguide, "infer.reparam": infer.reparam, "optim": optim}
        theirs = elsewhere(name, places | {"distributions": distributions, "handlers": handlers})
        return refuse_name(sys.modules[__name__], name, theirs)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
