"""Bijections onto curved sets and balls of vectors: spheres, tensors with zero sums, the L1 ball."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Transform, constraints
from torch.nn.functional import logsigmoid

from sursum.distributions.constraints import L1Ball, column_stochastic, l1_ball, sphere, zero_sum


class SphereProjection(Transform):
    r"""Onto vectors of length 1: :math:`x = u / |u|`, with as many coordinates as x has.

    No smooth bijection onto a sphere exists. The length of u, which x does not show, gets the distribution that it has where
    u is standard normal; then x is uniform, whatever its density says is on top of that. The term

    .. math:: \log A_n - \tfrac{1}{2} |u|^2 - \tfrac{n}{2} \log 2 \pi, \qquad A_n = \frac{2 \pi^{n / 2}}{\Gamma(n / 2)}

    takes the place of a log-Jacobian, so that densities on the sphere are by its surface.

    References:
        Muller (1959), A note on a method for generating points uniformly on n-dimensional spheres. Stan Reference Manual,
        "Unit vector".
    """

    domain = constraints.real_vector
    codomain = sphere
    bijective = False

    @property
    def inv(self) -> Any:
        return _FromSphere()

    def _call(self, x: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x / length

    def _inverse(self, y: Tensor) -> Tensor:
        return _usual_length(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        n = x.shape[-1]
        log_area = math.log(2.0) + n / 2 * math.log(math.pi) - math.lgamma(n / 2)
        return log_area - n / 2 * math.log(2 * math.pi) - x.square().sum(-1) / 2


class _FromSphere(Transform):
    """A vector of length 1 as one of the usual length of a normal one."""

    domain = sphere
    codomain = constraints.real_vector

    def _call(self, x: Tensor) -> Tensor:
        return _usual_length(x)


def _usual_length(x: Tensor) -> Tensor:
    return x * math.sqrt(max(x.shape[-1] - 1, 1))


class ZeroSumBijection(Transform):
    r"""Onto tensors with zero sums along each of the last `dims` dimensions, which have one element more than the coordinates.

    Along each of them, with n elements, a Householder reflection keeps all lengths and angles, so the log-Jacobian is 0:

    .. math:: x_i = u_i - \frac{s}{n + \sqrt n}, \quad i < n, \qquad x_n = -\frac{s}{\sqrt n}, \qquad s = \sum_i u_i

    References:
        Stan Reference Manual, "Zero sum vector", for the idea of a transform that keeps distances.
    """

    domain: Any
    codomain: Any
    bijective = True

    def __init__(self, dims: int = 1) -> None:
        super().__init__()
        self.dims = dims
        self.domain = constraints.independent(constraints.real, dims)
        self.codomain = zero_sum(dims)

    def forward_shape(self, shape: Any) -> torch.Size:
        split = len(shape) - self.dims
        return torch.Size([*shape[:split], *(size + 1 for size in shape[split:])])

    def inverse_shape(self, shape: Any) -> torch.Size:
        split = len(shape) - self.dims
        return torch.Size([*shape[:split], *(size - 1 for size in shape[split:])])

    def _call(self, x: Tensor) -> Tensor:
        for dim in range(-self.dims, 0):
            n = x.shape[dim] + 1
            total = x.sum(dim, keepdim=True)
            x = torch.cat([x - total / (n + math.sqrt(n)), -total / math.sqrt(n)], dim)
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        for dim in range(-self.dims, 0):
            n = y.shape[dim]
            last = y.narrow(dim, n - 1, 1)
            y = y.narrow(dim, 0, n - 1) - last / (math.sqrt(n) + 1)
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.zeros(x.shape[: x.dim() - self.dims], dtype=x.dtype, device=x.device)


class L1BallBijection(Transform):
    r"""Onto vectors with :math:`\sum_i |x_i| < 1`: each element takes a share of what the ones before it left.

    .. math:: x_i = r_i \tanh u_i, \qquad r_{i+1} = r_i - |x_i|, \qquad r_1 = 1

    with log-Jacobian :math:`\sum_i \log r_i + \log(1 - \tanh^2 u_i)`.
    """

    domain = constraints.real_vector
    codomain: L1Ball = l1_ball
    bijective = True

    def _left(self, x: Tensor) -> Tensor:
        """log r: each element leaves 1 − |tanh u| = 2 σ(−2|u|) of it."""
        kept = math.log(2.0) + logsigmoid(-2 * x.abs())
        return kept.cumsum(-1) - kept

    def _call(self, x: Tensor) -> Tensor:
        return x.tanh() * self._left(x).exp()

    def _inverse(self, y: Tensor) -> Tensor:
        used = y.abs()
        left = 1 - (used.cumsum(-1) - used)
        return torch.atanh(y / left)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        slope = 2 * (math.log(2.0) - x.abs() + logsigmoid(2 * x.abs()))
        return (self._left(x) + slope).sum(-1)


class TransposedBijection(Transform):
    """A bijection onto matrices row by row, done column by column."""

    domain = constraints.independent(constraints.real, 2)
    codomain = column_stochastic
    bijective = True

    def __init__(self, rows: Any) -> None:
        super().__init__()
        self.rows = rows

    def forward_shape(self, shape: Any) -> torch.Size:
        return self._transposed(self.rows.forward_shape(self._transposed(shape)))

    def inverse_shape(self, shape: Any) -> torch.Size:
        return self._transposed(self.rows.inverse_shape(self._transposed(shape)))

    @staticmethod
    def _transposed(shape: Any) -> torch.Size:
        return torch.Size([*shape[:-2], shape[-1], shape[-2]])

    def _call(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.rows(x.mT).mT)

    def _inverse(self, y: Tensor) -> Tensor:
        return torch.as_tensor(self.rows.inv(y.mT).mT)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.as_tensor(self.rows.log_abs_det_jacobian(x.mT, y.mT))
