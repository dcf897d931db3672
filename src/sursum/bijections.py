r"""Bijections from unconstrained coordinates :math:`u \in R^k` onto supports, with log-Jacobians.

torch's `biject_to` serves most supports; the ones that it lacks, or serves without a Jacobian, are here.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    IndependentTransform,
    SigmoidTransform,
    Transform,
    biject_to,
    constraints,
)

from sursum.distributions.constraints import Ordered, ordered
from sursum.errors import DensityError


def bijection(support: Any) -> Any:
    r"""The bijection of :math:`R^k` onto `support`.

    Args:
        support: a constraint, e.g. ``constraints.positive``.

    Returns:
        A `Transform` with ``forward_shape``, ``inverse_shape``, ``inv`` and ``log_abs_det_jacobian``.

    Raises:
        DensityError: no bijection is known.

    Example:
        >>> import torch
        >>> from sursum.distributions import constraints
        >>> bijection(constraints.ordered)(torch.tensor([1.0, 0.0, 0.0]))
        tensor([1., 2., 3.])
    """
    if isinstance(support, type(constraints.real_vector)):
        inner = bijection(support.base_constraint)
        return IndependentTransform(inner, support.reinterpreted_batch_ndims)
    if isinstance(support, Ordered):
        return OrderedTransform()
    if isinstance(support, type(constraints.lower_cholesky)):
        return LowerCholeskyBijection()
    if isinstance(support, (type(constraints.positive_definite), type(constraints.positive_semidefinite))):
        return PositiveDefiniteBijection()
    if isinstance(support, (type(constraints.positive), type(constraints.nonnegative))) and _is_zero(support.lower_bound):
        return ExpTransform()
    if isinstance(support, (type(constraints.interval(0, 1)), type(constraints.half_open_interval(0, 1)))):
        # torch looks at the bounds with Python's `==`, a branch on a traced value where they depend on q.
        lower, upper = support.lower_bound, support.upper_bound
        if isinstance(lower, Tensor) or isinstance(upper, Tensor):
            return ComposeTransform([SigmoidTransform(), AffineTransform(lower, upper - lower)])
    try:
        return biject_to(support)
    except NotImplementedError:
        raise DensityError(
            f"no bijection from unconstrained coordinates onto {support!r} is known. "
            "Write the site with a support that has one, e.g. by transforming a site of another distribution."
        ) from None


def _is_zero(bound: Any) -> bool:
    return not isinstance(bound, Tensor) and bound == 0


class OrderedTransform(Transform):
    r"""Onto increasing vectors: :math:`x_1 = u_1,\; x_i = x_{i-1} + e^{u_i}`, with log-Jacobian :math:`\sum_{i>1} u_i`.

    Reference: Stan Reference Manual, "Ordered vector".
    """

    domain = constraints.real_vector
    codomain = ordered
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        return torch.cat([x[..., :1], x[..., 1:].exp()], -1).cumsum(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        return torch.cat([y[..., :1], y.diff(dim=-1).log()], -1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x[..., 1:].sum(-1)


def _triangle(length: int) -> int:
    """n for which n(n + 1)/2 = `length`."""
    n = (math.isqrt(8 * length + 1) - 1) // 2
    if n * (n + 1) // 2 != length:
        raise ValueError(f"{length} is not the number of entries of a triangular matrix")
    return n


class LowerCholeskyBijection(Transform):
    r"""Onto lower triangular matrices with positive diagonal, row by row: :math:`L_{ij} = u`, :math:`L_{ii} = e^{u}`.

    The log-Jacobian is :math:`\sum_i \log L_{ii}`. (torch's transform onto the same set is not a bijection of
    :math:`R^{n(n+1)/2}` and has no Jacobian.)
    """

    domain = constraints.real_vector
    codomain = constraints.lower_cholesky
    bijective = True

    def forward_shape(self, shape: Any) -> torch.Size:
        n = _triangle(shape[-1])
        return torch.Size([*shape[:-1], n, n])

    def inverse_shape(self, shape: Any) -> torch.Size:
        return torch.Size([*shape[:-2], shape[-1] * (shape[-1] + 1) // 2])

    def _call(self, x: Tensor) -> Tensor:
        n = _triangle(x.shape[-1])
        rows, columns = torch.tril_indices(n, n)
        matrix = x.new_zeros((*x.shape[:-1], n, n))
        matrix[..., rows, columns] = torch.where(rows == columns, x.exp(), x)
        return matrix

    def _inverse(self, y: Tensor) -> Tensor:
        n = y.shape[-1]
        rows, columns = torch.tril_indices(n, n)
        entries = y[..., rows, columns]
        return torch.where(rows == columns, entries.log(), entries)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        n = y.shape[-1]
        diagonal = torch.arange(1, n + 1).cumsum(0) - 1
        return x[..., diagonal].sum(-1)


class PositiveDefiniteBijection(Transform):
    r"""Onto positive definite matrices through their Cholesky factor: :math:`\Sigma = LL^T`.

    The log-Jacobian of :math:`L \mapsto LL^T` is :math:`n \log 2 + \sum_i (n - i + 1) \log L_{ii}`, i from 1.

    Reference: Stan Reference Manual, "Covariance matrices".
    """

    domain = constraints.real_vector
    codomain = constraints.positive_definite
    bijective = True

    _factor = LowerCholeskyBijection()

    def forward_shape(self, shape: Any) -> torch.Size:
        return self._factor.forward_shape(shape)

    def inverse_shape(self, shape: Any) -> torch.Size:
        return self._factor.inverse_shape(shape)

    def _call(self, x: Tensor) -> Tensor:
        factor: Tensor = self._factor(x)
        return factor @ factor.mT

    def _inverse(self, y: Tensor) -> Tensor:
        result: Tensor = self._factor.inv(torch.linalg.cholesky(y))
        return result

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        n = y.shape[-1]
        diagonal = torch.arange(1, n + 1).cumsum(0) - 1
        powers = torch.arange(n, 0, -1, dtype=x.dtype) + 1
        return n * math.log(2.0) + (powers * x[..., diagonal]).sum(-1)
