"""Pyro's names on sursum: ``import sursum.compat.pyro as pyro``.

Programs run as they are, on sursum's densities, guides and samplers. One global parameter store stands underneath all handlers.

Imports sursum's public names; nothing of sursum imports it.
"""

from sursum.compat.pyro import distributions, infer, nn, ops, optim, params, poutine, settings, util
from sursum.compat.pyro._missing_modules import refuse_missing_modules
from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.plates import plate
from sursum.compat.pyro.poutine import condition, do, markov
from sursum.compat.pyro.primitives import (
    barrier,
    clear_param_store,
    deterministic,
    enable_validation,
    factor,
    get_param_store,
    module,
    param,
    plate_stack,
    random_module,
    sample,
    set_rng_seed,
    subsample,
    validation_enabled,
)
from sursum.compat.pyro.render import render_model

__version__ = "1.9.1"
"""Pyro's version whose names these are."""

__all__ = [
    "__version__",
    "barrier",
    "clear_param_store",
    "condition",
    "deterministic",
    "distributions",
    "do",
    "enable_validation",
    "factor",
    "get_param_store",
    "infer",
    "markov",
    "module",
    "nn",
    "ops",
    "optim",
    "param",
    "params",
    "plate",
    "plate_stack",
    "poutine",
    "random_module",
    "render_model",
    "sample",
    "set_rng_seed",
    "settings",
    "subsample",
    "util",
    "validation_enabled",
]

__getattr__ = refusing(
    "pyro",
    __all__,
    {
        "contrib": "of Pyro's contrib there are pyro.contrib.autoname and pyro.contrib.easyguide: import them",
        "iarange": "write pyro.plate",
        "irange": "write pyro.plate",
        "log": "there is no logger: progress is shown where a method takes `progress`",
    },
)

refuse_missing_modules(__name__)
