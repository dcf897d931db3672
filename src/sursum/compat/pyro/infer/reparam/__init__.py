"""Pyro's reparameterisers: sursum's, with Pyro's arguments.

Imports sursum's public names; `sursum.compat.pyro.infer` imports it.
"""

from typing import Any

import sursum.infer.reparam as ours
from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.infer.reparam.loc_scale import LocScaleReparam
from sursum.compat.pyro.infer.reparam.reparam import Reparam

__all__ = ["LocScaleReparam", "Reparam", *(name for name in ours.__all__ if name not in ("LocScaleReparam", "Reparam"))]

MISSING = {
    "ConjugateReparam": "a conjugate guide is a guide of yours",
    "DiscreteCosineReparam": "write the transformed site in the program",
    "GumbelSoftmaxReparam": "draw the relaxed site in the program",
    "HaarReparam": "write the transformed site in the program",
    "LatentStableReparam": "its density has no closed form",
    "LinearHMMReparam": "write su.scan, a loop in C",
    "NeuTraReparam": "write su.infer.reparam.NeuTraReparam(guide, params)",
    "SoftmaxReparam": "draw normal sites, and take their softmax",
    "GumbelReparam": "draw uniform sites, and transform them",
    "StableReparam": "its density has no closed form",
    "StructuredReparam": "write su.infer.reparam.NeuTraReparam(guide, params)",
    "SymmetricStableReparam": "its density has no closed form",
    "UnitJacobianReparam": "write the transformed site in the program",
}


def __getattr__(name: str) -> Any:
    if name in ours.__all__:
        return getattr(ours, name)
    return refusing("pyro.infer.reparam", __all__, MISSING)(name)
