"""sursum: lift the parameters of a PyTorch program, from outside, and sample its posterior at the speed of C."""

from sursum import distributions, handlers, infer, optim, poutine, priors
from sursum.compiler.compiled import CompiledDensity, compile
from sursum.handlers import (
    ParamStore,
    block,
    condition,
    do,
    lift,
    mask,
    plate,
    random_module,
    reparam,
    replay,
    reprior,
    scale,
    seed,
    substitute,
    trace,
    uncondition,
)
from sursum.module import module
from sursum.posterior import Posterior
from sursum.primitives import deterministic, factor, param, sample
from sursum.render import Rendering, render
from sursum.report import report
from sursum.scan import scan
from sursum.trace import Trace
from sursum.validation import enable_validation, validation_enabled

__version__ = "0.1.0"

__all__ = [
    "CompiledDensity",
    "ParamStore",
    "Posterior",
    "Rendering",
    "Trace",
    "block",
    "compile",
    "condition",
    "deterministic",
    "distributions",
    "do",
    "enable_validation",
    "factor",
    "handlers",
    "infer",
    "lift",
    "mask",
    "module",
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
    "seed",
    "substitute",
    "trace",
    "uncondition",
    "validation_enabled",
]
