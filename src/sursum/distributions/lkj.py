"""`LKJ`: correlation matrices."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.complement import factor_of, with_factor
from sursum.distributions.constraints import corr_matrix
from sursum.distributions.family import Family
from sursum.distributions.matrices import LKJCholesky, log_volume
from sursum.errors import OptionError


class LKJ(Family):
    r"""Correlation matrices R of dimension d, :math:`p(R) \propto \det(R)^{\eta - 1}`; η = 1 is uniform.

    Where only its Cholesky factor is needed, as in ``MultivariateNormal(scale_tril=…)``, `LKJCholesky` saves a factorisation.

    Args:
        dim: the dimension d, at least 2.
        concentration: η > 0.

    References:
        Lewandowski, Kurowicka, Joe (2009), Generating random correlation matrices based on vines and extended onion method.

    Example:
        >>> LKJ(2, 1.0).log_prob(torch.tensor([[1.0, 0.3], [0.3, 1.0]])).exp()
        tensor(0.5000)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"concentration": constraints.positive}
    support = corr_matrix
    concentration: Tensor

    def __init__(self, dim: int, concentration: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise OptionError(f"`LKJ` takes a dimension of at least 2, but got {dim}.")
        self.dim = int(dim)
        self._keep((self.dim, self.dim), validate_args, concentration=concentration)

    @property
    def mean(self) -> Tensor:
        return torch.eye(self.dim, dtype=self.concentration.dtype).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        each = 1 / (2 * self.concentration + self.dim - 1)
        return each[..., None, None] * (1 - torch.eye(self.dim, dtype=self.concentration.dtype))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        if 0 in (shape := self._extended_shape(torch.Size(sample_shape))):
            return torch.empty(shape, dtype=self.concentration.dtype, device=self.concentration.device)
        factor = LKJCholesky(self.dim, self.concentration, validate_args=False).sample(torch.Size(sample_shape))
        below = (factor @ factor.mT).tril(-1)
        return with_factor(below + below.mT + torch.eye(self.dim, dtype=factor.dtype, device=factor.device), factor)

    def _log_density(self, value: Tensor) -> Tensor:
        eta, d = self.concentration, self.dim
        log_det = 2 * factor_of(value).diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return (eta - 1) * log_det - log_volume(eta, d)
