"""The names of the distributions of Pyro 1.9, NumPyro 0.22 and PyMC 5, which docs/porting.md has to answer."""

from __future__ import annotations

# fmt: off
PYRO = [
    "AVFMultivariateNormal", "AffineBeta", "AsymmetricLaplace", "Bernoulli", "Beta", "BetaBinomial", "Binomial",
    "Categorical", "Cauchy", "Chi2", "CoalescentTimes", "CoalescentTimesWithRate", "ContinuousBernoulli", "Delta",
    "Dirichlet", "DirichletMultinomial", "DiscreteHMM", "Empirical", "ExpandedDistribution", "Exponential",
    "ExponentialFamily", "ExtendedBetaBinomial", "ExtendedBinomial", "FisherSnedecor", "FoldedDistribution", "Gamma",
    "GammaGaussianHMM", "GammaPoisson", "GaussianHMM", "GaussianMRF", "GaussianScaleMixture", "GeneralizedPareto",
    "Geometric", "GroupedNormalNormal", "Gumbel", "HalfCauchy", "HalfNormal", "ImproperUniform", "Independent",
    "IndependentHMM", "InverseGamma", "Kumaraswamy", "LKJ", "LKJCholesky", "LKJCorrCholesky", "Laplace", "LinearHMM",
    "LogNormal", "LogNormalNegativeBinomial", "Logistic", "LogisticNormal", "LowRankMultivariateNormal",
    "MaskedDistribution", "MaskedMixture", "MixtureOfDiagNormals", "MixtureOfDiagNormalsSharedCovariance",
    "MixtureSameFamily", "Multinomial", "MultivariateNormal", "MultivariateStudentT", "NanMaskedMultivariateNormal",
    "NanMaskedNormal", "NegativeBinomial", "Normal", "OMTMultivariateNormal", "OneHotCategorical",
    "OneHotCategoricalStraightThrough", "OneOneMatching", "OneTwoMatching", "OrderedLogistic", "Pareto", "Poisson",
    "ProjectedNormal", "Rejector", "RelaxedBernoulli", "RelaxedBernoulliStraightThrough", "RelaxedOneHotCategorical",
    "RelaxedOneHotCategoricalStraightThrough", "SineBivariateVonMises", "SineSkewed", "SkewLogistic",
    "SoftAsymmetricLaplace", "SoftLaplace", "SpanningTree", "Stable", "StableWithLogProb", "StudentT", "TorchDistribution",
    "TransformedDistribution", "TruncatedPolyaGamma", "Uniform", "Unit", "VonMises", "VonMises3D", "Weibull", "Wishart",
    "ZeroInflatedDistribution", "ZeroInflatedNegativeBinomial", "ZeroInflatedPoisson",
]

NUMPYRO = [
    "AsymmetricLaplace", "AsymmetricLaplaceQuantile", "Bernoulli", "BernoulliLogits", "BernoulliProbs", "Beta",
    "BetaBinomial", "BetaNegativeBinomial", "BetaProportion", "Binomial", "BinomialLogits", "BinomialProbs", "CAR",
    "Categorical", "CategoricalLogits", "CategoricalProbs", "Cauchy", "Chi2", "CirculantNormal", "Dagum", "Delta",
    "Dirichlet", "DirichletMultinomial", "DiscreteUniform", "Distribution", "DoublyTruncatedPowerLaw", "EulerMaruyama",
    "ExpandedDistribution", "Exponential", "FoldedDistribution", "Gamma", "GammaPoisson", "GaussianCopula",
    "GaussianCopulaBeta", "GaussianRandomWalk", "GaussianStateSpace", "Geometric", "GeometricLogits", "GeometricProbs",
    "Gompertz", "Gumbel", "HalfCauchy", "HalfNormal", "HurdleDistribution", "HurdleGamma", "HurdleLogNormal",
    "HurdleLogits", "HurdleNegativeBinomial2", "HurdlePoisson", "HurdleProbs", "ImproperUniform", "Independent",
    "IntervalCensoredDistribution", "InverseGamma", "InverseWishart", "InverseWishartCholesky", "Kumaraswamy", "LKJ",
    "LKJCholesky", "Laplace", "LeftCensoredDistribution", "LeftTruncatedDistribution", "LeftTruncatedGamma", "Levy",
    "LogNormal", "LogUniform", "Logistic", "LowRankMultivariateNormal", "LowerTruncatedPowerLaw", "MaskedDistribution",
    "MatrixNormal", "Mixture", "MixtureGeneral", "MixtureSameFamily", "Multinomial", "MultinomialLogits",
    "MultinomialProbs", "MultivariateNormal", "MultivariateStudentT", "NegativeBinomial", "NegativeBinomial2",
    "NegativeBinomialLogits", "NegativeBinomialProbs", "Normal", "OrderedLogistic", "Pareto", "Poisson", "ProjectedNormal",
    "RelaxedBernoulli", "RelaxedBernoulliLogits", "RightCensoredDistribution", "RightTruncatedDistribution",
    "RightTruncatedGamma", "SineBivariateVonMises", "SineSkewed", "SoftLaplace", "StudentT", "TransformedDistribution",
    "TruncatedCauchy", "TruncatedDistribution", "TruncatedGamma", "TruncatedNormal", "TruncatedPolyaGamma",
    "TwoSidedTruncatedDistribution", "TwoSidedTruncatedGamma", "Uniform", "Unit", "VonMises", "Weibull", "Wishart",
    "WishartCholesky", "ZeroInflatedDistribution", "ZeroInflatedLogits", "ZeroInflatedNegativeBinomial2",
    "ZeroInflatedPoisson", "ZeroInflatedProbs", "ZeroSumNormal",
]

PYMC = [
    "AR", "AsymmetricLaplace", "Bernoulli", "Beta", "BetaBinomial", "Binomial", "CAR", "Categorical", "Cauchy", "Censored",
    "ChiSquared", "CustomDist", "DensityDist", "DiracDelta", "Dirichlet", "DirichletMultinomial", "DiscreteUniform",
    "DiscreteWeibull", "Distribution", "EulerMaruyama", "ExGaussian", "Exponential", "Flat", "GARCH11", "Gamma",
    "GaussianRandomWalk", "Geometric", "Gumbel", "HalfCauchy", "HalfFlat", "HalfNormal", "HalfStudentT", "HurdleGamma",
    "HurdleLogNormal", "HurdleNegativeBinomial", "HurdlePoisson", "HyperGeometric", "ICAR", "Interpolated", "InverseGamma",
    "KroneckerNormal", "Kumaraswamy", "LKJCholeskyCov", "LKJCorr", "Laplace", "LogNormal", "Logistic", "LogitNormal",
    "MatrixNormal", "Mixture", "Moyal", "Multinomial", "MvGaussianRandomWalk", "MvNormal", "MvStudentT",
    "MvStudentTRandomWalk", "NegativeBinomial", "Normal", "NormalMixture", "OrderedLogistic", "OrderedMultinomial",
    "OrderedProbit", "Pareto", "Poisson", "PolyaGamma", "RandomWalk", "Rice", "Simulator", "SkewNormal", "SkewStudentT",
    "StickBreakingWeights", "StudentT", "Triangular", "Truncated", "TruncatedNormal", "Uniform", "VonMises", "Wald",
    "Weibull", "Wishart", "WishartBartlett", "ZeroInflatedBinomial", "ZeroInflatedNegativeBinomial", "ZeroInflatedPoisson",
    "ZeroSumNormal",
]
