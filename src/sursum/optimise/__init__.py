"""Optimisation of a program's log density, and approximations that are made from it."""

from sursum.optimise.fit import fit
from sursum.optimise.fitted import Fit
from sursum.optimise.laplace import laplace
from sursum.optimise.pathfinder import Pathfinder

__all__ = ["Fit", "Pathfinder", "fit", "laplace"]
