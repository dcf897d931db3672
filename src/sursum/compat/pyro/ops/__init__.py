"""Pyro's functions of tensors that programs use.

Imports torch and sursum's public names; the rest of `sursum.compat.pyro` imports it.
"""

from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.ops import contract, indexing, special, stats, tensor_utils

__all__ = ["contract", "indexing", "special", "stats", "tensor_utils"]

_OWN = "it belongs to Pyro's own machinery: write torch's functions"
__getattr__ = refusing(
    "pyro.ops",
    __all__,
    dict.fromkeys(
        ("gaussian", "gamma_gaussian", "linalg", "newton", "packed", "jit", "integrator", "streaming", "welford"), _OWN
    ),
)
