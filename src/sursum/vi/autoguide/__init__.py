"""Automatic guides: `AutoNormal(model)` is a program with the model's latent sites.

One family a file. Imports `density` and below; the rest of `vi` imports it.
"""

from sursum.vi.autoguide.delta import AutoDelta
from sursum.vi.autoguide.flow import AutoNormalizingFlow
from sursum.vi.autoguide.gaussian import AutoGaussian
from sursum.vi.autoguide.guide import AutoGuide
from sursum.vi.autoguide.guide_list import AutoGuideList
from sursum.vi.autoguide.hierarchical import AutoHierarchicalNormal, AutoRegressive
from sursum.vi.autoguide.iaf import AutoIAFNormal
from sursum.vi.autoguide.init import (
    init_to_feasible,
    init_to_mean,
    init_to_median,
    init_to_sample,
    init_to_uniform,
    init_to_value,
)
from sursum.vi.autoguide.joint import AutoDiagonalNormal, AutoLowRankMultivariateNormal, AutoMultivariateNormal
from sursum.vi.autoguide.laplace import AutoLaplaceApproximation
from sursum.vi.autoguide.normal import AutoNormal
from sursum.vi.autoguide.structured import AutoStructured

__all__ = [
    "AutoDelta",
    "AutoDiagonalNormal",
    "AutoGaussian",
    "AutoGuide",
    "AutoGuideList",
    "AutoHierarchicalNormal",
    "AutoIAFNormal",
    "AutoLaplaceApproximation",
    "AutoLowRankMultivariateNormal",
    "AutoMultivariateNormal",
    "AutoNormal",
    "AutoNormalizingFlow",
    "AutoRegressive",
    "AutoStructured",
    "init_to_feasible",
    "init_to_mean",
    "init_to_median",
    "init_to_sample",
    "init_to_uniform",
    "init_to_value",
]
