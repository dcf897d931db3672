"""Pyro's mixtures and normals that differ from torch's in the estimator of a gradient alone: the same densities.

Imports sursum's public names.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sursum.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal


def MixtureOfDiagNormals(locs: Tensor, coord_scale: Tensor, component_logits: Tensor) -> Any:  # noqa: N802
    """A mixture of normal vectors with independent elements: means and scales of shape (…, components, d).

    Example:
        >>> MixtureOfDiagNormals(torch.zeros(2, 1), torch.ones(2, 1), torch.zeros(2)).log_prob(torch.zeros(1))
        tensor(-0.9189)
    """
    return MixtureSameFamily(Categorical(logits=component_logits), Normal(locs, coord_scale).to_event(1))


def MixtureOfDiagNormalsSharedCovariance(locs: Tensor, coord_scale: Tensor, component_logits: Tensor) -> Any:  # noqa: N802
    """The same with scales of shape (…, d), those of all components."""
    return MixtureOfDiagNormals(locs, coord_scale.unsqueeze(-2), component_logits)


def GaussianScaleMixture(coord_scale: Tensor, component_logits: Tensor, component_scale: Tensor) -> Any:  # noqa: N802
    """A mixture around 0 of normal vectors with the scales `coord_scale`, times that of the component."""
    scale = component_scale.unsqueeze(-1) * coord_scale.unsqueeze(-2)
    return MixtureOfDiagNormals(torch.zeros_like(scale), scale, component_logits)


def OMTMultivariateNormal(loc: Tensor, scale_tril: Tensor) -> MultivariateNormal:  # noqa: N802
    """A multivariate normal; its gradient is the usual one, and not Pyro's by optimal transport, of the same mean."""
    return MultivariateNormal(loc, scale_tril=scale_tril)


def AVFMultivariateNormal(loc: Tensor, scale_tril: Tensor, control_var: Tensor) -> MultivariateNormal:  # noqa: N802
    """A multivariate normal; the control variate of Pyro's gradient is left out, which does not change its mean."""
    del control_var
    return MultivariateNormal(loc, scale_tril=scale_tril)
