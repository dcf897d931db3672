"""Pyro's reparameterisers: sursum's, with Pyro's arguments.

Imports sursum's public names, the guides and `poutine`; `sursum.compat.pyro.infer` imports it.
"""

from typing import Any

import sursum.infer.reparam as ours
from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.infer.reparam.loc_scale import LocScaleReparam
from sursum.compat.pyro.infer.reparam.neutra import NeuTraReparam
from sursum.compat.pyro.infer.reparam.reparam import Reparam
from sursum.compat.pyro.infer.reparam.strategies import AutoReparam, MinimalReparam, Strategy

__all__ = ["AutoReparam", "LocScaleReparam", "MinimalReparam", "NeuTraReparam", "Reparam", "Strategy"]
__all__ += [name for name in ours.__all__ if name not in __all__]

MISSING = {
    "ConjugateReparam": "a conjugate guide is a guide of yours",
    "DiscreteCosineReparam": "write the transformed site in the program",
    "GumbelSoftmaxReparam": "draw the relaxed site in the program",
    "HaarReparam": "write the transformed site in the program",
    "LatentStableReparam": "its density has no closed form",
    "LinearHMMReparam": "write su.scan, a loop in C",
    "SoftmaxReparam": "draw normal sites, and take their softmax",
    "GumbelReparam": "draw uniform sites, and transform them",
    "StableReparam": "its density has no closed form",
    "StructuredReparam": "write NeuTraReparam(guide)",
    "SymmetricStableReparam": "its density has no closed form",
    "UnitJacobianReparam": "write the transformed site in the program",
}


def __getattr__(name: str) -> Any:
    if name in ours.__all__:
        return getattr(ours, name)
    return refusing("pyro.infer.reparam", __all__, MISSING)(name)
