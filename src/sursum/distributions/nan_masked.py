"""`NanMaskedNormal`, `NanMaskedMultivariateNormal`: normal data of which some are missing, and are NaN."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.constraints import RealOrNan
from sursum.distributions.family import Family, normal
from sursum.errors import OptionError


class NanMaskedNormal(Family):
    r"""A normal distribution whose density is 1 where the value is NaN: a missing value says nothing.

    Args:
        loc: the mean.
        scale: the standard deviation, positive.

    Example:
        >>> NanMaskedNormal(0.0, 1.0).log_prob(torch.tensor([0.0, torch.nan]))
        tensor([-0.9189,  0.0000])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": constraints.real, "scale": constraints.positive}
    support = RealOrNan(0)
    has_rsample = True
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Tensor | float, scale: Tensor | float, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, loc=loc, scale=scale)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.scale.square()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + self.scale * normal(self.loc, self._extended_shape(torch.Size(sample_shape)))

    def _log_density(self, value: Tensor) -> Tensor:
        missing = torch.isnan(value)
        z = (torch.where(missing, self.loc, value) - self.loc) / self.scale
        return torch.where(missing, 0.0, -z.square() / 2 - torch.log(self.scale) - 0.5 * math.log(2 * math.pi))


class NanMaskedMultivariateNormal(Family):
    r"""A multivariate normal, of the elements that are not NaN: the others are integrated out.

    Args:
        loc: the mean, shape (…, n).
        covariance_matrix: the covariance matrix, shape (…, n, n), or
        scale_tril: its Cholesky factor.

    Raises:
        OptionError: both or neither of the last two.

    Example:
        >>> fn = NanMaskedMultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
        >>> fn.log_prob(torch.tensor([0.0, torch.nan]))
        tensor(-0.9189)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
    }
    support = RealOrNan(1)
    has_rsample = True
    loc: Tensor
    covariance_matrix: Tensor

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if (covariance_matrix is None) == (scale_tril is None):
            raise OptionError("`NanMaskedMultivariateNormal` takes either `covariance_matrix` or `scale_tril`, its factor.")
        covariance = scale_tril @ scale_tril.mT if scale_tril is not None else covariance_matrix
        self._keep((loc.shape[-1],), validate_args, loc=loc, covariance_matrix=covariance)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.covariance_matrix.diagonal(dim1=-2, dim2=-1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = normal(self.loc, self._extended_shape(torch.Size(sample_shape)))
        factor: Tensor = torch.linalg.cholesky(self.covariance_matrix)
        return self.loc + (factor @ drawn.unsqueeze(-1)).squeeze(-1)

    def _log_density(self, value: Tensor) -> Tensor:
        there = ~torch.isnan(value)
        away = torch.where(there, torch.where(there, value, self.loc) - self.loc, 0.0)
        both = there.unsqueeze(-1) & there.unsqueeze(-2)
        # In the place of a missing element stands an independent one of variance 1 at its mean.
        eye = torch.eye(value.shape[-1], dtype=value.dtype, device=value.device)
        factor: Tensor = torch.linalg.cholesky(torch.where(both, self.covariance_matrix, eye))
        solved: Tensor = torch.linalg.solve_triangular(factor, away.unsqueeze(-1), upper=False)
        z = solved.squeeze(-1)
        log_det: Tensor = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        count = there.to(value.dtype).sum(-1)
        return -z.square().sum(-1) / 2 - log_det - count * (0.5 * math.log(2 * math.pi))
