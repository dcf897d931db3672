"""Everything in `torch.distributions`, and ours: `Delta`, `ImproperUniform`, `Masked`, `constraints.ordered`.

Every distribution here has `to_event`, `expand_by` and `mask`; a raw `torch.distributions` object is accepted wherever
one of these is. One family a file; `supports` and `bijections` beside them.
Imports `common`; may be imported by every room above.
"""

import sys
from typing import TYPE_CHECKING, NoReturn

from torch.distributions import Distribution, kl_divergence, register_kl, transforms

from sursum.common.other_libraries import refuse_name
from sursum.distributions import constraints
from sursum.distributions.delta import Delta
from sursum.distributions.fluent import Independent, Masked
from sursum.distributions.improper import ImproperUniform
from sursum.distributions.matrices import LKJCholesky, Wishart
from sursum.distributions.other_libraries import MISSING
from sursum.distributions.standard import (
    Bernoulli,
    Beta,
    Binomial,
    Categorical,
    Cauchy,
    Chi2,
    ContinuousBernoulli,
    Dirichlet,
    Exponential,
    FisherSnedecor,
    Gamma,
    GeneralizedPareto,
    Geometric,
    Gumbel,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Kumaraswamy,
    Laplace,
    LogisticNormal,
    LogNormal,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    Multinomial,
    MultivariateNormal,
    NegativeBinomial,
    Normal,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
    Pareto,
    Poisson,
    RelaxedBernoulli,
    RelaxedOneHotCategorical,
    StudentT,
    TransformedDistribution,
    Uniform,
    VonMises,
    Weibull,
)

__all__ = [
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Cauchy",
    "Chi2",
    "ContinuousBernoulli",
    "Delta",
    "Dirichlet",
    "Distribution",
    "Exponential",
    "FisherSnedecor",
    "Gamma",
    "GeneralizedPareto",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "ImproperUniform",
    "Independent",
    "InverseGamma",
    "Kumaraswamy",
    "LKJCholesky",
    "Laplace",
    "LogNormal",
    "LogisticNormal",
    "LowRankMultivariateNormal",
    "Masked",
    "MixtureSameFamily",
    "Multinomial",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Pareto",
    "Poisson",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "StudentT",
    "TransformedDistribution",
    "Uniform",
    "VonMises",
    "Weibull",
    "Wishart",
    "constraints",
    "kl_divergence",
    "register_kl",
    "transforms",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> NoReturn:
        """For a name that does not exist, say what to write instead."""
        refuse_name(sys.modules[__name__], name, MISSING)
