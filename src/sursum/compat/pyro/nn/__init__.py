"""Pyro's modules.

Imports sursum's public names, the primitives and the store; `sursum.compat.pyro.infer` imports it.
"""

from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.nn import dense_nn, module
from sursum.compat.pyro.nn.dense_nn import DenseNN
from sursum.compat.pyro.nn.module import (
    PyroModule,
    PyroModuleList,
    PyroParam,
    PyroSample,
    pyro_method,
    to_pyro_module_,
)

__all__ = [
    "DenseNN",
    "PyroModule",
    "PyroModuleList",
    "PyroParam",
    "PyroSample",
    "dense_nn",
    "module",
    "pyro_method",
    "to_pyro_module_",
]

_FLOW = "a flow's networks are zuko's"
__getattr__ = refusing(
    "pyro.nn",
    __all__,
    dict.fromkeys(("AutoRegressiveNN", "ConditionalAutoRegressiveNN", "MaskedLinear", "ConditionalDenseNN"), _FLOW),
)
