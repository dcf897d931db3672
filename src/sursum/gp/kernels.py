"""Kernels: covariances of a function's values at two sets of points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sursum.errors import ArgumentError


class Kernel:
    """A covariance k(x, z), called with points, shape (N,) or (N, D), and (M,) or (M, D).

    Kernels are added and multiplied, with each other and with numbers or tensors. Their arguments may be sites and parameters.
    A vector of length scales, shape (D,), has one for each dimension.

    Example:
        >>> import torch, sursum as su
        >>> kernel = 2.0 * su.gp.RBF(0.5) + su.gp.White(0.1)
        >>> kernel(torch.tensor([0.0, 0.5]))
        tensor([[2.1000, 1.2131],
                [1.2131, 2.1000]])
    """

    def __call__(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """The matrix of k(x_i, z_j), shape (N, M); of k(x_i, x_j) without z."""
        points = _points(x)
        return self._matrix(points, points if z is None else _points(z, points), z is None)

    def diagonal(self, x: Tensor) -> Tensor:
        """k(x_i, x_i), shape (N,)."""
        return self._diagonal(_points(x))

    def spectral_density(self, frequency: Tensor) -> Tensor:
        """The spectral density at angular frequencies, shape (M, D): of `RBF`, the Matérn kernels, sums and multiples."""
        raise ArgumentError(f"{type(self).__name__} has no spectral density here. Use RBF or a Matérn kernel, or a multiple.")

    def __add__(self, other: Kernel | Tensor | float) -> Kernel:
        return Sum(self, _kernel(other))

    def __mul__(self, other: Kernel | Tensor | float) -> Kernel:
        return Product(self, _kernel(other))

    __radd__ = __add__
    __rmul__ = __mul__

    def _matrix(self, x: Tensor, z: Tensor, same: bool) -> Tensor:
        raise NotImplementedError

    def _diagonal(self, x: Tensor) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Sum(Kernel):
    """k₁ + k₂."""

    first: Kernel
    second: Kernel

    def _matrix(self, x: Tensor, z: Tensor, same: bool) -> Tensor:
        return self.first._matrix(x, z, same) + self.second._matrix(x, z, same)

    def _diagonal(self, x: Tensor) -> Tensor:
        return self.first._diagonal(x) + self.second._diagonal(x)

    def spectral_density(self, frequency: Tensor) -> Tensor:
        return self.first.spectral_density(frequency) + self.second.spectral_density(frequency)


@dataclass(frozen=True, eq=False)
class Product(Kernel):
    """k₁ · k₂."""

    first: Kernel
    second: Kernel

    def _matrix(self, x: Tensor, z: Tensor, same: bool) -> Tensor:
        return self.first._matrix(x, z, same) * self.second._matrix(x, z, same)

    def _diagonal(self, x: Tensor) -> Tensor:
        return self.first._diagonal(x) * self.second._diagonal(x)

    def spectral_density(self, frequency: Tensor) -> Tensor:
        for number, other in ((self.first, self.second), (self.second, self.first)):
            if isinstance(number, Constant):
                return number.value * other.spectral_density(frequency)
        return super().spectral_density(frequency)


@dataclass(frozen=True, eq=False)
class Constant(Kernel):
    """A number c: k(x, z) = c."""

    value: Tensor | float = 1.0

    def _matrix(self, x: Tensor, z: Tensor, same: bool) -> Tensor:
        return torch.as_tensor(self.value).expand(len(x), len(z))

    def _diagonal(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.value).expand(len(x))


@dataclass(frozen=True, eq=False)
class White(Kernel):
    """Noise of variance v: v for a point and itself, 0 for any two others. Between two sets of points it is 0."""

    variance: Tensor | float = 1.0

    def _matrix(self, x: Tensor, z: Tensor, same: bool) -> Tensor:
        return self.variance * torch.eye(len(x), dtype=x.dtype, device=x.device) if same else x.new_zeros(len(x), len(z))

    def _diagonal(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.variance).expand(len(x))


@dataclass(frozen=True, eq=False)
class _Stationary(Kernel):
    """A function of the distance r in length scales, 1 at 0."""

    lengthscale: Tensor | float = 1.0

    def _matrix(self, x: Tensor, z: Tensor, same: bool) -> Tensor:
        return self._of((_differences(x, z) / self.lengthscale).square().sum(-1))

    def _diagonal(self, x: Tensor) -> Tensor:
        return x.new_ones(len(x))

    def _of(self, square: Tensor) -> Tensor:
        raise NotImplementedError

    def _frequencies(self, frequency: Tensor) -> tuple[Tensor, Tensor, int]:
        """(ℓω)², summed; the product of the length scales; the number of dimensions."""
        scales = torch.as_tensor(self.lengthscale).expand(frequency.shape[-1])
        return (scales * frequency).square().sum(-1), scales.prod(), frequency.shape[-1]


class RBF(_Stationary):
    r"""The squared exponential, :math:`\exp(-r^2/2)`, r² = Σ ((x_d − z_d)/ℓ_d)²."""

    def _of(self, square: Tensor) -> Tensor:
        return torch.exp(-square / 2)

    def spectral_density(self, frequency: Tensor) -> Tensor:
        square, volume, dims = self._frequencies(frequency)
        height: float = (2 * math.pi) ** (dims / 2)
        return height * volume * torch.exp(-square / 2)


class _Matern(_Stationary):
    half: int  # ν = half / 2

    def spectral_density(self, frequency: Tensor) -> Tensor:
        square, volume, dims = self._frequencies(frequency)
        nu = self.half / 2
        log = dims * math.log(2) + dims / 2 * math.log(math.pi) + math.lgamma(nu + dims / 2) - math.lgamma(nu)
        found: Tensor = math.exp(log) * self.half**nu * volume * (self.half + square) ** (-nu - dims / 2)
        return found


class Matern12(_Matern):
    """The exponential kernel, exp(−r)."""

    half = 1

    def _of(self, square: Tensor) -> Tensor:
        return torch.exp(-_root(square))


class Matern32(_Matern):
    """(1 + √3 r) exp(−√3 r)."""

    half = 3

    def _of(self, square: Tensor) -> Tensor:
        far = _root(3 * square)
        return (1 + far) * torch.exp(-far)


class Matern52(_Matern):
    """(1 + √5 r + 5 r²/3) exp(−√5 r)."""

    half = 5

    def _of(self, square: Tensor) -> Tensor:
        far = _root(5 * square)
        return (1 + far + 5 / 3 * square) * torch.exp(-far)


@dataclass(frozen=True, eq=False)
class RationalQuadratic(_Stationary):
    """(1 + r²/(2α))^(−α): a mixture of squared exponentials of many length scales."""

    alpha: Tensor | float = 1.0

    def _of(self, square: Tensor) -> Tensor:
        return torch.exp(-self.alpha * torch.log1p(square / (2 * self.alpha)))


@dataclass(frozen=True, eq=False)
class Periodic(Kernel):
    r""":math:`\exp(-2 \sum_d \sin^2(\pi (x_d - z_d)/p) / \ell_d^2)`, of period p."""

    lengthscale: Tensor | float = 1.0
    period: Tensor | float = 1.0

    def _matrix(self, x: Tensor, z: Tensor, same: bool) -> Tensor:
        waves = torch.sin(math.pi * _differences(x, z) / self.period) / self.lengthscale
        return torch.exp(-2 * waves.square().sum(-1))

    def _diagonal(self, x: Tensor) -> Tensor:
        return x.new_ones(len(x))


@dataclass(frozen=True, eq=False)
class Cosine(Kernel):
    """cos(2π Σ (x_d − z_d)/p)."""

    period: Tensor | float = 1.0

    def _matrix(self, x: Tensor, z: Tensor, same: bool) -> Tensor:
        return torch.cos(2 * math.pi * (_differences(x, z) / self.period).sum(-1))

    def _diagonal(self, x: Tensor) -> Tensor:
        return x.new_ones(len(x))


@dataclass(frozen=True, eq=False)
class Linear(Kernel):
    """v (x − c)·(z − c): lines through c."""

    variance: Tensor | float = 1.0
    centre: Tensor | float = 0.0

    def _matrix(self, x: Tensor, z: Tensor, same: bool) -> Tensor:
        return self.variance * ((x - self.centre) @ (z - self.centre).T)

    def _diagonal(self, x: Tensor) -> Tensor:
        return self.variance * (x - self.centre).square().sum(-1)


@dataclass(frozen=True, eq=False)
class Polynomial(Kernel):
    """(x·z + c)^k, for a whole number k."""

    degree: int = 2
    offset: Tensor | float = 1.0

    def _matrix(self, x: Tensor, z: Tensor, same: bool) -> Tensor:
        return (x @ z.T + self.offset) ** self.degree

    def _diagonal(self, x: Tensor) -> Tensor:
        return (x.square().sum(-1) + self.offset) ** self.degree


def _kernel(other: Any) -> Kernel:
    if isinstance(other, Kernel):
        return other
    if isinstance(other, (Tensor, int, float)):
        return Constant(other)
    raise ArgumentError(f"a kernel cannot be combined with a {type(other).__name__}: give a kernel, a tensor or a number.")


def _points(x: Any, like: Tensor | None = None) -> Tensor:
    """Points as (N, D)."""
    if not isinstance(x, Tensor) or x.dim() not in (1, 2):
        found = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise ArgumentError(f"the points of a kernel are a tensor of shape (N,) or (N, D), but here is {found}.")
    points = x.unsqueeze(1) if x.dim() == 1 else x
    if like is not None and points.shape[1] != like.shape[1]:
        raise ArgumentError(f"points of {like.shape[1]} and of {points.shape[1]} dimensions have no covariance.")
    return points


def _differences(x: Tensor, z: Tensor) -> Tensor:
    return x.unsqueeze(1) - z.unsqueeze(0)


def _root(square: Tensor) -> Tensor:
    """The square root, whose derivative at 0 is 0."""
    positive = square > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, square, 1.0)), 0.0)
