"""Optimisation of a program's log density, and approximations that are made from it."""

from sursum.optimise.fit import fit
from sursum.optimise.fitted import Fit

__all__ = ["Fit", "fit"]
