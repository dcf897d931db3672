"""Distributions under Pyro's names: sursum's, and the few that only its surface needs.

Imports sursum's public names; the rest of `sursum.compat.pyro` imports it.
"""

from typing import Any

from torch.distributions import Distribution

import sursum.distributions as ours
from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.distributions import constraints, torch_distribution, transforms, util
from sursum.compat.pyro.distributions.diagonal_mixtures import (
    AVFMultivariateNormal,
    GaussianScaleMixture,
    MixtureOfDiagNormals,
    MixtureOfDiagNormalsSharedCovariance,
    OMTMultivariateNormal,
)
from sursum.compat.pyro.distributions.flows import ComposeTransformModule, TransformModule
from sursum.compat.pyro.distributions.torch_distribution import TorchDistribution, TorchDistributionMixin
from sursum.compat.pyro.distributions.unit import Unit
from sursum.compat.pyro.distributions.util import enable_validation, is_validation_enabled, validation_enabled
from sursum.distributions import Delta, Empirical, Independent, kl_divergence, register_kl
from sursum.distributions import Masked as MaskedDistribution
from sursum.errors import MissingNameError

MISSING = {
    "ExpandedDistribution": "write fn.expand(shape)",
    "Rejector": "write a subclass of torch's Distribution with `sample` and `log_prob`",
    "ConditionalTransformedDistribution": "a network gives the arguments of a distribution: write it in the program",
    "ConditionalDistribution": "a network gives the arguments of a distribution: write it in the program",
    "ConditionalTransform": "a network gives the arguments of a transform: write it in the program",
    "LinearHMM": "write su.scan, a loop in C",
    "IndependentHMM": "write GaussianHMM in a plate",
    "GammaGaussianHMM": "write su.scan, a loop in C",
    "GaussianMRF": "write GaussianHMM, which has the same joint distribution",
    "MaskedMixture": "write torch.where(mask, a, b) of the two values, or of the two log densities in pyro.factor",
    "Stable": "its density has no closed form",
    "StableWithLogProb": "its density has no closed form",
    "TruncatedPolyaGamma": "NUTS needs no auxiliary variable: write Bernoulli(logits=…)",
    "RelaxedBernoulliStraightThrough": "write RelaxedBernoulli, or sum the site out",
    "RelaxedOneHotCategoricalStraightThrough": "write OneHotCategoricalStraightThrough",
}


def __getattr__(name: str) -> Any:
    """A family that sursum has under its own name; otherwise what to write."""
    if not name.startswith("_") and name in getattr(ours, "__all__", ()):
        return getattr(ours, name)
    return refusing("pyro.distributions", ours.__all__, MISSING | _advise(name))(name)


def _advise(name: str) -> dict[str, str]:
    """What sursum says of a family that it does not have."""
    if name in MISSING or name.startswith("_"):
        return {}
    try:
        getattr(ours, name)
    except MissingNameError as error:
        _, found, advice = str(error).partition(": ")
        return {name: advice.rstrip(".") if found else "write a subclass of TorchDistribution with `sample` and `log_prob`"}
    return {}


__all__ = [
    "AVFMultivariateNormal",
    "GaussianScaleMixture",
    "MixtureOfDiagNormals",
    "MixtureOfDiagNormalsSharedCovariance",
    "OMTMultivariateNormal",
    "Delta",
    "Distribution",
    "Empirical",
    "Independent",
    "MaskedDistribution",
    "ComposeTransformModule",
    "TorchDistribution",
    "TorchDistributionMixin",
    "TransformModule",
    "Unit",
    "constraints",
    "enable_validation",
    "is_validation_enabled",
    "kl_divergence",
    "register_kl",
    "torch_distribution",
    "transforms",
    "util",
    "validation_enabled",
    *(name for name in ours.__all__ if name not in ("transforms", "constraints", "Delta", "Distribution", "Independent")),
]
