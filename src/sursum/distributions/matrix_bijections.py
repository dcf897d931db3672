"""Bijections onto sets of matrices: Cholesky factors, positive definite matrices, correlations."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Transform, constraints
from torch.nn.functional import logsigmoid, softplus

from sursum.distributions.complement import with_factor
from sursum.distributions.constraints import corr_matrix, softplus_lower_cholesky


def _triangle(length: int) -> int:
    """n for which n(n + 1)/2 = `length`."""
    n = (math.isqrt(8 * length + 1) - 1) // 2
    if n * (n + 1) // 2 != length:
        raise ValueError(f"{length} is not the number of entries of a triangular matrix")
    return n


class LowerCholeskyBijection(Transform):
    r"""Onto lower triangular matrices with a positive diagonal, row by row: :math:`L_{ij} = u`, :math:`L_{ii} = e^{u}`.

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


class _ByFactor(Transform):
    """Onto symmetric matrices through their Cholesky factor."""

    domain = constraints.real_vector
    bijective = True

    _factor: LowerCholeskyBijection | CorrCholeskyBijection

    def forward_shape(self, shape: Any) -> torch.Size:
        return self._factor.forward_shape(shape)

    def inverse_shape(self, shape: Any) -> torch.Size:
        return self._factor.inverse_shape(shape)

    def _inverse(self, y: Tensor) -> Tensor:
        result: Tensor = self._factor.inv(torch.linalg.cholesky(y))
        return result


class PositiveDefiniteBijection(_ByFactor):
    r"""Onto positive definite matrices through their Cholesky factor: :math:`\Sigma = LL^T`.

    The log-Jacobian of :math:`L \mapsto LL^T` is :math:`n \log 2 + \sum_i (n - i + 1) \log L_{ii}`, i from 1.

    References:
        Stan Reference Manual, "Covariance matrices".
    """

    codomain = constraints.positive_definite

    _factor = LowerCholeskyBijection()

    def _call(self, x: Tensor) -> Tensor:
        factor: Tensor = self._factor(x)
        return factor @ factor.mT

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        n = y.shape[-1]
        diagonal = torch.arange(1, n + 1).cumsum(0) - 1
        powers = torch.arange(n, 0, -1, dtype=x.dtype) + 1
        return n * math.log(2.0) + (powers * x[..., diagonal]).sum(-1)


class CorrCholeskyBijection(Transform):
    r"""Onto Cholesky factors of correlation matrices, row by row, through partial correlations :math:`r = \tanh u`.

    .. math:: L_{ij} = r_{ij} \prod_{k<j} \sqrt{1 - r_{ik}^2}, \qquad L_{ii} = \prod_{k<i} \sqrt{1 - r_{ik}^2}

    with log-Jacobian :math:`\sum_{j<i} \bigl(1 + \tfrac{i-j-1}{2}\bigr) \log(1 - r_{ij}^2)`. All products are sums of
    logarithms, so that no precision is lost near r = ±1. (torch's transform subtracts squares from 1 there, and its gradient
    becomes NaN.)

    References:
        Lewandowski, Kurowicka, Joe, "Generating random correlation matrices based on vines and extended onion method"
        (2009), section 2.
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def forward_shape(self, shape: Any) -> torch.Size:
        n = _triangle(shape[-1]) + 1
        return torch.Size([*shape[:-1], n, n])

    def inverse_shape(self, shape: Any) -> torch.Size:
        return torch.Size([*shape[:-2], shape[-1] * (shape[-1] - 1) // 2])

    def _call(self, x: Tensor) -> Tensor:
        n = _triangle(x.shape[-1]) + 1
        rows, columns = torch.tril_indices(n, n, -1)
        partial, logs = (x.new_zeros((*x.shape[:-1], n, n)) for _ in range(2))
        partial[..., rows, columns] = x.tanh()
        logs[..., rows, columns] = _log_one_minus_tanh_squared(x)
        # The remaining length of each row, out of 1, before each element.
        left = (logs.cumsum(-1) - logs) / 2
        return (partial + torch.eye(n, dtype=x.dtype)) * left.exp()

    def _inverse(self, y: Tensor) -> Tensor:
        n = y.shape[-1]
        rows, columns = torch.tril_indices(n, n, -1)
        squares = y.square()
        right = squares.flip(-1).cumsum(-1).flip(-1) - squares
        return torch.asinh(y[..., rows, columns] / right[..., rows, columns].sqrt())

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        n = y.shape[-1]
        rows, columns = torch.tril_indices(n, n, -1)
        weights = 1 + (rows - columns - 1).to(x.dtype) / 2
        result: Tensor = (weights * _log_one_minus_tanh_squared(x)).sum(-1)
        return result


def _log_one_minus_tanh_squared(x: Tensor) -> Tensor:
    return 2 * (math.log(2.0) - x + logsigmoid(2 * x))


class SoftplusLowerCholeskyBijection(LowerCholeskyBijection):
    r"""Like `LowerCholeskyBijection`, with the softplus on the diagonal; log-Jacobian :math:`\sum_i \log \sigma(u_{ii})`."""

    codomain = softplus_lower_cholesky

    def _call(self, x: Tensor) -> Tensor:
        n = _triangle(x.shape[-1])
        rows, columns = torch.tril_indices(n, n)
        matrix = x.new_zeros((*x.shape[:-1], n, n))
        matrix[..., rows, columns] = torch.where(rows == columns, softplus(x, threshold=1000.0), x)
        return matrix

    def _inverse(self, y: Tensor) -> Tensor:
        n = y.shape[-1]
        rows, columns = torch.tril_indices(n, n)
        entries = y[..., rows, columns]
        diagonal = torch.where(rows == columns, entries, 1.0)
        return torch.where(rows == columns, diagonal + torch.log(-torch.expm1(-diagonal)), entries)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        n = y.shape[-1]
        diagonal = torch.arange(1, n + 1).cumsum(0) - 1
        return logsigmoid(x[..., diagonal]).sum(-1)


class CorrMatrixBijection(_ByFactor):
    r"""Onto correlation matrices through their Cholesky factor, :math:`R = L L^T`.

    The log-Jacobian of :math:`L \mapsto L L^T` is :math:`\sum_i (n - i) \log L_{ii}`, i from 1. The factor is attached to the
    matrix, and `LKJ` uses it: see `factor_of`.

    References:
        Stan Reference Manual, "Correlation matrix transform".
    """

    codomain = corr_matrix

    _factor = CorrCholeskyBijection()

    def _call(self, x: Tensor) -> Tensor:
        factor: Tensor = self._factor(x)
        below = (factor @ factor.mT).tril(-1)
        return with_factor(below + below.mT + torch.eye(factor.shape[-1], dtype=x.dtype, device=x.device), factor)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        n = y.shape[-1]
        rows, columns = torch.tril_indices(n, n, -1)
        # log L_ii is half the sum of its row's log(1 - r²), and is in the term n - i times (i from 1).
        weights = 1 + (rows - columns - 1).to(x.dtype) / 2 + (n - 1 - rows).to(x.dtype) / 2
        result: Tensor = (weights * _log_one_minus_tanh_squared(x)).sum(-1)
        return result
