"""Pyro's automatic guides.

Imports sursum's public names and the store; `sursum.compat.pyro.infer` imports it.
"""

from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.infer.autoguide import guides, initialization
from sursum.compat.pyro.infer.autoguide.guides import (
    AutoCallable,
    AutoContinuous,
    AutoDelta,
    AutoDiagonalNormal,
    AutoGuide,
    AutoGuideList,
    AutoHierarchicalNormalMessenger,
    AutoIAFNormal,
    AutoLaplaceApproximation,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
    AutoNormalizingFlow,
    AutoNormalMessenger,
    AutoRegressiveMessenger,
    AutoStructured,
    mean_field_entropy,
)
from sursum.compat.pyro.infer.autoguide.initialization import (
    init_to_feasible,
    init_to_generated,
    init_to_mean,
    init_to_median,
    init_to_sample,
    init_to_uniform,
    init_to_value,
)

__all__ = [
    "AutoCallable",
    "AutoContinuous",
    "AutoDelta",
    "AutoDiagonalNormal",
    "AutoGuide",
    "AutoGuideList",
    "AutoHierarchicalNormalMessenger",
    "AutoIAFNormal",
    "AutoLaplaceApproximation",
    "AutoLowRankMultivariateNormal",
    "AutoMultivariateNormal",
    "AutoNormal",
    "AutoNormalMessenger",
    "AutoNormalizingFlow",
    "AutoRegressiveMessenger",
    "AutoStructured",
    "guides",
    "init_to_feasible",
    "init_to_generated",
    "init_to_mean",
    "init_to_median",
    "init_to_sample",
    "init_to_uniform",
    "init_to_value",
    "initialization",
    "mean_field_entropy",
]

__getattr__ = refusing(
    "pyro.infer.autoguide",
    __all__,
    {
        "AutoDiscreteParallel": "discrete sites are summed out, TraceEnum_ELBO; a guide of yours draws them",
        "AutoGaussian": "write AutoMultivariateNormal(model)",
        "AutoMessenger": "write a guide of yours",
    },
)
