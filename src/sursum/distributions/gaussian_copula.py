"""`GaussianCopula`, `GaussianCopulaBeta`: dependent numbers with given distributions each."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.family import Family, normal, promote
from sursum.distributions.fluent import Independent
from sursum.distributions.standard import Beta
from sursum.distributions.tails import log_ndtri, log_tails, quantile
from sursum.errors import ArgumentError, DensityError, OptionError


class GaussianCopula(Family):
    r"""Vectors whose elements have given distributions, and depend on each other as those of a normal vector do:

    .. math:: p(x) = \frac{N(z \mid 0, R)}{\prod_k \varphi(z_k)} \prod_k p_k(x_k), \qquad z_k = \Phi^{-1}(F_k(x_k))

    Args:
        marginal_dist: the distributions of the elements, with a cdf; batch shape (…, d).
        correlation_matrix: R, shape (…, d, d).
        correlation_cholesky: its Cholesky factor instead.

    Raises:
        OptionError: both of the correlation's forms, or none.
        ArgumentError: the correlation matrix is not one that is positive definite.
        DensityError: the marginal distributions are discrete, of vectors, without a batch dimension, or have no cdf.

    References:
        Sklar (1959), Fonctions de répartition à n dimensions et leurs marges.

    Example:
        >>> import sursum.distributions as dist
        >>> normals = dist.Normal(torch.zeros(2), 1.0)
        >>> dist.GaussianCopula(normals, correlation_matrix=torch.eye(2)).log_prob(torch.zeros(2))
        tensor(-1.8379)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"correlation_cholesky": constraints.corr_cholesky}
    marginal_dist: Any
    correlation_cholesky: Tensor

    def __init__(
        self,
        marginal_dist: Any,
        correlation_matrix: Tensor | None = None,
        correlation_cholesky: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if (correlation_matrix is None) == (correlation_cholesky is None):
            raise OptionError("`GaussianCopula` takes either `correlation_matrix` or `correlation_cholesky`.")
        if marginal_dist.event_shape or not marginal_dist.batch_shape or marginal_dist.support.is_discrete:
            raise DensityError(
                "the marginal distributions of `GaussianCopula` are continuous ones of numbers, one for each element: "
                f"{type(marginal_dist).__name__} has batch shape {tuple(marginal_dist.batch_shape)}, event shape "
                f"{tuple(marginal_dist.event_shape)} and support {marginal_dist.support}."
            )
        if correlation_cholesky is None:
            assert correlation_matrix is not None
            correlation_cholesky = _factor(correlation_matrix)
        size = correlation_cholesky.shape[-1]
        batch = torch.broadcast_shapes(marginal_dist.batch_shape[:-1], correlation_cholesky.shape[:-2])
        marginal = marginal_dist.expand(torch.Size([*batch, size]))
        # The marginal distributions have a batch dimension more than the copula: they are one argument with an event.
        self._keep((size,), validate_args, marginal_dist=Independent(marginal, 1), correlation_cholesky=correlation_cholesky)

    @property
    def _marginal(self) -> Any:
        return self.marginal_dist.base_dist

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Any:
        return constraints.independent(self._marginal.support, 1)

    @property
    def mean(self) -> Tensor:
        return torch.as_tensor(self._marginal.mean)

    @property
    def variance(self) -> Tensor:
        return torch.as_tensor(self._marginal.variance)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        z = (self.correlation_cholesky @ normal(self.correlation_cholesky, shape).unsqueeze(-1)).squeeze(-1)
        return quantile(self._marginal, torch.special.log_ndtr(z), torch.special.log_ndtr(-z))

    def _log_density(self, value: Tensor) -> Tensor:
        below, above = log_tails(self._marginal, value)
        left = below < above
        size = log_ndtri(torch.where(left, below, above))
        z = torch.where(left, size, -size)
        factor = self.correlation_cholesky
        white = torch.linalg.solve_triangular(factor, z.unsqueeze(-1), upper=False).squeeze(-1)
        joint: Tensor = (z.square() - white.square()).sum(-1) / 2 - torch.log(factor.diagonal(dim1=-2, dim2=-1)).sum(-1)
        single: Tensor = self._marginal.log_prob(value)
        return joint + single.sum(-1)


class GaussianCopulaBeta(GaussianCopula):
    """A `GaussianCopula` of Beta distributed numbers: dependent shares and probabilities.

    Args:
        concentration1: a > 0, shape (…, d).
        concentration0: b > 0, shape (…, d).
        correlation_matrix: R, shape (…, d, d).
        correlation_cholesky: its Cholesky factor instead.

    Raises:
        OptionError: both of the correlation's forms, or none.

    Example:
        >>> shares = GaussianCopulaBeta(torch.tensor([1.0, 2.0]), 1.0, correlation_matrix=torch.eye(2))
        >>> shares.log_prob(torch.tensor([0.5, 0.5]))
        tensor(0.)
    """

    def __init__(
        self,
        concentration1: Tensor | float,
        concentration0: Tensor | float,
        correlation_matrix: Tensor | None = None,
        correlation_cholesky: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        found = correlation_matrix if correlation_cholesky is None else correlation_cholesky
        size = () if found is None else found.shape[-1:]
        a, b = promote({"a": concentration1, "b": concentration0}).values()
        a, b = torch.broadcast_tensors(a, b)
        marginal = Beta(a.expand(torch.broadcast_shapes(a.shape, size)), b, validate_args=validate_args)
        super().__init__(marginal, correlation_matrix, correlation_cholesky, validate_args)


def _factor(matrix: Tensor) -> Tensor:
    try:
        factor: Tensor = torch.linalg.cholesky(matrix)
    except torch.linalg.LinAlgError as error:
        raise ArgumentError(
            "`correlation_matrix` of GaussianCopula is not positive definite: some of its variables are combinations of the "
            "others, or its numbers contradict each other. Give a correlation matrix, or its factor as `correlation_cholesky`, "
            "which LKJCholesky draws."
        ) from error
    return factor
