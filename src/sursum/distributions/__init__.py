"""Everything in `torch.distributions`, those that other libraries have, and ours; supports and transforms.

Every distribution here has `to_event`, `expand_by` and `mask`; a raw `torch.distributions` object is accepted wherever
one of these is. One family a file; `supports` and `bijections` beside them.
Imports `common`; may be imported by every room above.
"""

import sys
from typing import TYPE_CHECKING, NoReturn

from torch.distributions import Distribution, kl_divergence, register_kl, transforms

from sursum.common.other_libraries import refuse_name
from sursum.distributions import constraints
from sursum.distributions.asymmetric_laplace import AsymmetricLaplace, AsymmetricLaplaceQuantile, SoftAsymmetricLaplace
from sursum.distributions.beta_binomial import BetaBinomial, BetaNegativeBinomial, DirichletMultinomial
from sursum.distributions.bounded import AffineBeta, BetaProportion, LogitNormal, LogUniform, Triangular
from sursum.distributions.car import CAR, ICAR
from sursum.distributions.censored import (
    Censored,
    IntervalCensoredDistribution,
    LeftCensoredDistribution,
    RightCensoredDistribution,
)
from sursum.distributions.chi import Chi
from sursum.distributions.counts import DiscreteWeibull, GeneralizedPoisson, Hypergeometric, YuleSimon
from sursum.distributions.custom import CustomDist
from sursum.distributions.delta import Delta
from sursum.distributions.directional import ProjectedNormal, SineBivariateVonMises, SineSkewed, VonMises3D
from sursum.distributions.discrete_uniform import DiscreteUniform
from sursum.distributions.empirical import Empirical
from sursum.distributions.euler_maruyama import EulerMaruyama
from sursum.distributions.extended import ExtendedBetaBinomial, ExtendedBinomial
from sursum.distributions.extreme_value import GeneralizedExtremeValue
from sursum.distributions.fluent import Independent, Masked
from sursum.distributions.folded import FoldedDistribution
from sursum.distributions.gamma_poisson import GammaPoisson, NegativeBinomial2
from sursum.distributions.garch import GARCH11
from sursum.distributions.gaussian_copula import GaussianCopula, GaussianCopulaBeta
from sursum.distributions.glm import BernoulliLogitGLM, NormalGLM, OrderedLogisticGLM, PoissonLogGLM
from sursum.distributions.grouped_normal_normal import GroupedNormalNormal
from sursum.distributions.half_student_t import HalfStudentT
from sursum.distributions.hidden_markov import DiscreteHMM
from sursum.distributions.improper import ImproperUniform
from sursum.distributions.interpolated import Interpolated
from sursum.distributions.inverse_gaussian import InverseGaussian
from sursum.distributions.kalman import GaussianHMM, GaussianStateSpace
from sursum.distributions.levy import Levy, Moyal
from sursum.distributions.lifetimes import Dagum, Frechet, Gompertz, LogLogistic
from sursum.distributions.lkj import LKJ
from sursum.distributions.log_normal_negative_binomial import LogNormalNegativeBinomial
from sursum.distributions.logistic import Logistic, SkewLogistic, SoftLaplace
from sursum.distributions.matrices import LKJCholesky, Wishart
from sursum.distributions.matrix_normal import InverseWishart, MatrixNormal
from sursum.distributions.mixture_general import MixtureGeneral
from sursum.distributions.multivariate_student_t import MultivariateStudentT
from sursum.distributions.nan_masked import NanMaskedMultivariateNormal, NanMaskedNormal
from sursum.distributions.ordinal import OrderedLogistic, OrderedProbit
from sursum.distributions.other_libraries import MISSING
from sursum.distributions.power_law import DoublyTruncatedPowerLaw, LowerTruncatedPowerLaw
from sursum.distributions.random_walk import AR, GaussianRandomWalk
from sursum.distributions.rice import Rayleigh, Rice
from sursum.distributions.skellam import Skellam
from sursum.distributions.skew_normal import ExGaussian, SkewNormal
from sursum.distributions.skew_student_t import SkewStudentT
from sursum.distributions.sorted import InducedDirichlet, Sorted
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
from sursum.distributions.stick_breaking import StickBreakingWeights
from sursum.distributions.truncated import Truncated, TruncatedCauchy, TruncatedNormal
from sursum.distributions.zero_inflated import (
    HurdleDistribution,
    HurdleGamma,
    HurdleLogNormal,
    HurdleNegativeBinomial2,
    HurdlePoisson,
    ZeroInflatedDistribution,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedNegativeBinomial2,
    ZeroInflatedPoisson,
)
from sursum.distributions.zero_sum_normal import ZeroSumNormal

__all__ = [
    "AR",
    "CAR",
    "GARCH11",
    "ICAR",
    "LKJ",
    "AffineBeta",
    "AsymmetricLaplace",
    "AsymmetricLaplaceQuantile",
    "Bernoulli",
    "BernoulliLogitGLM",
    "Beta",
    "BetaBinomial",
    "BetaNegativeBinomial",
    "BetaProportion",
    "Binomial",
    "Categorical",
    "Cauchy",
    "Censored",
    "Chi",
    "Chi2",
    "ContinuousBernoulli",
    "CustomDist",
    "Dagum",
    "Delta",
    "Dirichlet",
    "DirichletMultinomial",
    "DiscreteHMM",
    "DiscreteUniform",
    "DiscreteWeibull",
    "Distribution",
    "DoublyTruncatedPowerLaw",
    "Empirical",
    "EulerMaruyama",
    "ExGaussian",
    "Exponential",
    "ExtendedBetaBinomial",
    "ExtendedBinomial",
    "FisherSnedecor",
    "FoldedDistribution",
    "Frechet",
    "Gamma",
    "GammaPoisson",
    "GaussianCopula",
    "GaussianCopulaBeta",
    "GaussianHMM",
    "GaussianRandomWalk",
    "GaussianStateSpace",
    "GeneralizedExtremeValue",
    "GeneralizedPareto",
    "GeneralizedPoisson",
    "Geometric",
    "Gompertz",
    "GroupedNormalNormal",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "HurdleDistribution",
    "HurdleGamma",
    "HurdleLogNormal",
    "HurdleNegativeBinomial2",
    "HurdlePoisson",
    "Hypergeometric",
    "ImproperUniform",
    "Independent",
    "InducedDirichlet",
    "Interpolated",
    "IntervalCensoredDistribution",
    "InverseGamma",
    "InverseGaussian",
    "InverseWishart",
    "Kumaraswamy",
    "LKJCholesky",
    "Laplace",
    "LeftCensoredDistribution",
    "Levy",
    "LogLogistic",
    "LogNormal",
    "LogNormalNegativeBinomial",
    "LogUniform",
    "Logistic",
    "LogisticNormal",
    "LogitNormal",
    "LowRankMultivariateNormal",
    "LowerTruncatedPowerLaw",
    "Masked",
    "MatrixNormal",
    "MixtureGeneral",
    "MixtureSameFamily",
    "Moyal",
    "Multinomial",
    "MultivariateNormal",
    "MultivariateStudentT",
    "NanMaskedMultivariateNormal",
    "NanMaskedNormal",
    "NegativeBinomial",
    "NegativeBinomial2",
    "Normal",
    "NormalGLM",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "OrderedLogistic",
    "OrderedLogisticGLM",
    "OrderedProbit",
    "Pareto",
    "Poisson",
    "PoissonLogGLM",
    "ProjectedNormal",
    "Rayleigh",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "Rice",
    "RightCensoredDistribution",
    "SineBivariateVonMises",
    "SineSkewed",
    "Skellam",
    "SkewLogistic",
    "SkewNormal",
    "SkewStudentT",
    "SoftAsymmetricLaplace",
    "SoftLaplace",
    "Sorted",
    "StickBreakingWeights",
    "StudentT",
    "TransformedDistribution",
    "Triangular",
    "Truncated",
    "TruncatedCauchy",
    "TruncatedNormal",
    "Uniform",
    "VonMises",
    "VonMises3D",
    "Weibull",
    "Wishart",
    "YuleSimon",
    "ZeroInflatedDistribution",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedNegativeBinomial2",
    "ZeroInflatedPoisson",
    "ZeroSumNormal",
    "constraints",
    "kl_divergence",
    "register_kl",
    "transforms",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> NoReturn:
        """For a name that does not exist, say what to write instead."""
        refuse_name(sys.modules[__name__], name, MISSING)
