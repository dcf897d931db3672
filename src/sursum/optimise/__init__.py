"""Optimisation of a program's log density, and approximations built on it.

`fit` maximises; `laplace` and `pathfinder` draw from Gaussians at or on the way to the maximum.
Imports `posterior`, `compiler` and below; `vi` and `infer` import it.
"""

from sursum.optimise.fit import Fit
from sursum.optimise.fit_result import FitResult
from sursum.optimise.laplace import Laplace
from sursum.optimise.pathfinder import Pathfinder

__all__ = ["Fit", "FitResult", "Laplace", "Pathfinder"]
