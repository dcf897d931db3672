"""sursum: lift the parameters of a PyTorch program, from outside, and sample its posterior at the speed of C."""

import sys
from typing import TYPE_CHECKING, NoReturn

from sursum import cluster, distributed, distributions, gp, handlers, infer, ops, optim, poutine, priors
from sursum.common.elsewhere import elsewhere
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

    def __getattr__(name: str) -> NoReturn:
        """For a name that does not exist, say what to write instead."""
        places = {"infer": infer, "infer.autoguide": infer.autoguide, "infer.reparam": infer.reparam, "optim": optim}
        theirs = elsewhere(name, places | {"distributions": distributions, "handlers": handlers})
        refuse_name(sys.modules[__name__], name, theirs)
