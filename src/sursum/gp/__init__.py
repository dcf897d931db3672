"""`su.gp`: Gaussian processes as short functions that a program calls: kernels, exact, sparse and by basis functions.

Imports `distributions`; the public names of the package import it.
"""

from sursum.gp.basis import hilbert, hilbert_basis, periodic, periodic_basis
from sursum.gp.exact import conditional, latent, marginal
from sursum.gp.kernels import (
    RBF,
    Constant,
    Cosine,
    Kernel,
    Linear,
    Matern12,
    Matern32,
    Matern52,
    Periodic,
    Polynomial,
    RationalQuadratic,
    White,
)
from sursum.gp.sparse import Titsias, fitc, sparse_conditional, titsias

__all__ = [
    "RBF",
    "Constant",
    "Cosine",
    "Kernel",
    "Linear",
    "Matern12",
    "Matern32",
    "Matern52",
    "Periodic",
    "Polynomial",
    "RationalQuadratic",
    "Titsias",
    "White",
    "conditional",
    "fitc",
    "hilbert",
    "hilbert_basis",
    "latent",
    "marginal",
    "periodic",
    "periodic_basis",
    "sparse_conditional",
    "titsias",
]
