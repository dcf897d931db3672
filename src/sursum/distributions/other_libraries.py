"""Names of distributions and arguments in other libraries: errors give the names here."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from sursum.common.other_libraries import explain_call
from sursum.errors import OptionError

_CUT = "a normal that is cut off is `dist.TruncatedNormal(loc, scale, low=…, high=…)`"

_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "mu": ("loc",),
    "location": ("loc",),
    "sigma": ("scale",),
    "lam": ("rate",),
    "lambda_": ("rate",),
    "beta": ("rate", "concentration0", "scale"),
    "alpha": ("concentration", "concentration1"),
    "a": ("concentration", "concentration1", "low"),
    "b": ("concentration0", "high"),
    "eta": ("concentration",),
    "kappa": ("concentration",),
    "nu": ("df",),
    "dof": ("df",),
    "p": ("probs",),
    "prob": ("probs",),
    "logit_p": ("logits",),
    "logit": ("logits",),
    "n": ("total_count", "dim"),
    "dimension": ("dim",),
    "lower": ("low",),
    "upper": ("high",),
    "cov": ("covariance_matrix",),
    "chol": ("scale_tril",),
    "constraint": ("support",),
    "base_dist": ("base_distribution",),
}
"""For an argument name of another library, torch's names that may be meant."""

_OF_ONE: Mapping[str, Mapping[str, str]] = {
    "Normal": {
        "mean": "loc",
        "sd": "scale",
        "std": "scale",
        "tau": "write `scale=tau ** -0.5`",
        "precision": "write `scale=precision ** -0.5`",
        "variance": "write `scale=variance ** 0.5`",
        "lower": _CUT,
        "upper": _CUT,
    },
    "MultivariateNormal": {"mean": "loc", "precision": "precision_matrix", "tau": "precision_matrix"},
    "Exponential": {
        "scale": "write `rate=1 / scale`",
        "mean": "write `rate=1 / mean`",
        "mu": "write `rate=1 / mu`",
        "beta": "the one of SciPy and NumPy is a scale, `rate=1 / beta`",
    },
    "Gamma": {
        "scale": "write `rate=1 / scale`",
        "theta": "write `rate=1 / theta`",
        "mu": "write `concentration=(mu / sigma) ** 2, rate=mu / sigma ** 2`",
    },
    "InverseGamma": {"scale": "rate"},
    "Poisson": {"mu": "rate", "mean": "rate"},
    "Laplace": {"b": "scale"},
    "Cauchy": {"alpha": "loc"},
    "Delta": {"value": "v", "c": "v", "point": "v"},
    "Bernoulli": {"theta": "probs"},
    "NegativeBinomial": {
        "p": "torch's counts what the others call failures, `probs=1 - p`",
        "mu": "write `total_count=alpha, logits=mu.log() - alpha.log()`",
        "mean": "write `total_count=concentration, logits=mean.log() - concentration.log()`",
        "alpha": "write `total_count=alpha, logits=mu.log() - alpha.log()`",
        "concentration": "write `total_count=concentration, logits=mean.log() - concentration.log()`",
    },
    "MixtureSameFamily": {"w": "write `dist.Categorical(w)` first", "comp_dists": "component_distribution"},
}
"""Entries for single distributions, which take precedence over those for all: torch's name, or what to do."""

_COPIES = "write a plate around the site, or `.expand([…])`"
_ANSWERS: Mapping[str, str] = {
    "shape": _COPIES,
    "size": _COPIES,
    "sample_shape": _COPIES,
    "dims": "write a plate of that name around the site",
    "observed": "data are the site's, `sample('y', fn, obs=y)`",
    "obs": "data are the site's, `sample('y', fn, obs=y)`",
    "name": "a name is the site's, `sample('y', fn)`",
    "initval": "values to start from are the run's, `init=`",
}

MISSING: Mapping[str, str] = {
    "Flat": "write `dist.ImproperUniform(constraints.real)`",
    "HalfFlat": "write `dist.ImproperUniform(constraints.positive)`",
    "Unit": "write `su.factor(name, log_density)`",
    "Potential": "write `su.factor(name, log_density)`",
    "OrderedTransform": "a parameter is ordered by `constraint=constraints.ordered`",
    "Deterministic": "write `su.deterministic(name, value)`",
    "ExpandedDistribution": "write `.expand([…])`",
    "MaskedDistribution": "write `.mask(present)`",
    "sample": "write `su.sample`",
    "HyperGeometric": "write `dist.Hypergeometric(total, marked, drawn)`",
    "ChiSquared": "write `dist.Chi2`",
    "Maxwell": "write `dist.Chi(3.0, scale)`",
    "DiracDelta": "write `dist.Delta`",
    "DensityDist": "write `dist.CustomDist(log_prob, …)`",
    "TruncatedGamma": "write `dist.Truncated(dist.Gamma(…), low=…, high=…)`",
    "GenExtreme": "write `dist.GeneralizedExtremeValue`",
    "KroneckerNormal": "write `dist.MatrixNormal`, for two factors",
    "CirculantNormal": "write `dist.MultivariateNormal` of the circulant matrix",
    "Wald": "write `dist.InverseGaussian(mu, lam)`",
    "TruncatedDistribution": "write `dist.Truncated(base, low, high)`",
    "LeftTruncatedDistribution": "write `dist.Truncated(base, low=…)`",
    "RightTruncatedDistribution": "write `dist.Truncated(base, high=…)`",
    "TwoSidedTruncatedDistribution": "write `dist.Truncated(base, low, high)`",
    "ZeroInflatedBinomial": "write `dist.ZeroInflatedDistribution(dist.Binomial(…), gate=…)`",
    "NormalMixture": "write `dist.MixtureSameFamily(dist.Categorical(w), dist.Normal(mu, sigma))`",
    "Mixture": "write `dist.MixtureSameFamily(dist.Categorical(probs), components)`",
    "MvStudentT": "write `dist.MultivariateStudentT`",
    "MvNormal": "write `dist.MultivariateNormal`",
    "ImproperPrior": "write `dist.ImproperUniform`",
    **dict.fromkeys(
        ("LKJCorr", "LKJCholeskyCov", "LKJCorrCholesky"), "write `dist.LKJCholesky(dim, concentration)`, of the factor"
    ),
    **{
        n: f"write `dist.{n.replace('Logits', '').replace('Probs', '')}({'logits' if 'Logits' in n else 'probs'}=…)`"
        for n in (
            "BernoulliLogits",
            "BernoulliProbs",
            "BinomialLogits",
            "BinomialProbs",
            "CategoricalLogits",
            "CategoricalProbs",
        )
    },
}
"""Distributions of other libraries that are not here, and what to write."""


@lru_cache(maxsize=256)
def _names(cls: type) -> frozenset[str] | None:
    """The arguments of a distribution; None if it takes any."""
    parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else frozenset(p.name for p in parameters)


def check_arguments(cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Check that a distribution is called with arguments that exist, and of types that torch can compute with.

    Raises:
        OptionError: an argument with a wrong name, too many arguments, a site name as the first one, a NumPy array.
    """
    if args and isinstance(args[0], str):
        raise OptionError(
            f"a distribution has no name, the site has: write `sample({args[0]!r}, dist.{cls.__name__}(…))` instead of "
            f"`{cls.__name__}({args[0]!r}, …)`."
        )
    for value in (*args, *kwargs.values()):
        if isinstance(value, np.ndarray) and cls.__init__.__module__.startswith("torch."):  # type: ignore[misc]
            raise OptionError(f"`{cls.__name__}` takes tensors, but got a NumPy array: write torch.as_tensor(array).")
    known = _names(cls)
    if known is None or known.issuperset(kwargs):
        return
    theirs = dict(_ANSWERS)
    theirs |= {name: found[0] for name, meant in _ARGUMENTS.items() if (found := [one for one in meant if one in known])}
    theirs |= next((answers for base in cls.__mro__ if (answers := _OF_ONE.get(base.__name__))), {})
    problem = explain_call(cls.__init__, cls.__name__, (None, *args), kwargs, "", theirs)  # type: ignore[misc]
    if problem is not None:
        raise OptionError(problem)
