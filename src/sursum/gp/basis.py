"""Gaussian processes as sums of M fixed functions with independent normal weights: N M operations for N points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sursum.common.settings import whole_number
from sursum.errors import ArgumentError
from sursum.gp.kernels import Kernel

#: How many coefficients beyond the last the recurrence of `periodic` starts.
_BEYOND = 40


def hilbert_basis(x: Tensor, count: int | Sequence[int], boundary: float | Sequence[float]) -> tuple[Tensor, Tensor]:
    r"""The eigenfunctions of the Laplacian on boxes [−L, L], which vanish on the boundary, and their frequencies.

    .. math:: \phi_j(x) = \prod_d L_d^{-1/2} \sin(\omega_{j_d} (x_d + L_d)), \qquad \omega_{j_d} = \frac{\pi j_d}{2 L_d}

    Args:
        x: points, shape (N,) or (N, D), centred: in the box, far enough from its boundary.
        count: how many functions there are of each dimension.
        boundary: L, by dimension.

    Returns:
        The functions at the points, shape (N, M), and the frequencies, (M, D), for all M combinations.

    Example:
        >>> import torch, sursum as su
        >>> functions, frequencies = su.gp.hilbert_basis(torch.linspace(-1.0, 1.0, 50), 10, 1.5)
        >>> functions.shape, frequencies.shape
        (torch.Size([50, 10]), torch.Size([10, 1]))
    """
    points = x.unsqueeze(1) if x.dim() == 1 else x
    dims = points.shape[1]
    counts = [count] * dims if isinstance(count, int) else list(count)
    limits = [boundary] * dims if isinstance(boundary, (int, float)) else list(boundary)
    if len(counts) != dims or len(limits) != dims:
        raise ArgumentError(f"points of {dims} dimensions need as many counts and boundaries, or one of each.")
    functions, frequencies = points.new_ones(len(points), 1), points.new_zeros(1, 0)
    for d, (n, limit) in enumerate(zip(counts, limits, strict=True)):
        own = torch.arange(1, whole_number("count", n, 1, ArgumentError, "it is a number of functions") + 1).to(points)
        own = own * (math.pi / (2 * limit))
        waves = torch.sin(own * (points[:, d : d + 1] + limit)) / math.sqrt(limit)
        functions = (functions.unsqueeze(2) * waves.unsqueeze(1)).reshape(len(points), -1)
        rows = frequencies.repeat_interleave(n, 0)
        frequencies = torch.cat([rows, own.repeat(len(frequencies)).unsqueeze(1)], 1)
    return functions, frequencies


def hilbert(kernel: Kernel, basis: tuple[Tensor, Tensor], weights: Tensor) -> Tensor:
    r"""Values of a process by its Hilbert-space approximation: :math:`f(x) = \sum_j \sqrt{S(\omega_j)}\, w_j\, \phi_j(x)`.

    S is the kernel's spectral density. It comes near the kernel where the box is larger than the points by some length scales,
    and the highest frequency is more than some per length scale. The basis does not depend on parameters: compute it once.

    Args:
        kernel: `RBF`, a Matérn kernel, or sums and multiples.
        basis: of `hilbert_basis`.
        weights: standard normal numbers, shape (M,).

    Returns:
        f(x), shape (N,).

    References:
        Solin and Särkkä (2020), Hilbert space methods for reduced-rank Gaussian process regression.
        Riutort-Mayol et al. (2023), Practical Hilbert space approximate Bayesian Gaussian processes.

    Example:
        >>> import torch, sursum as su
        >>> basis = su.gp.hilbert_basis(torch.linspace(-1.0, 1.0, 50), 10, 1.5)
        >>> su.gp.hilbert(2.0 * su.gp.Matern52(0.3), basis, torch.ones(10)).shape
        torch.Size([50])
    """
    functions, frequencies = basis
    return functions @ (kernel.spectral_density(frequencies).sqrt() * weights)


def periodic_basis(x: Tensor, count: int, period: float) -> Tensor:
    """cos(2πjx/p) for j = 0, …, J and sin(2πjx/p) for j = 1, …, J, at points x, shape (N,): shape (N, 2J + 1).

    Example:
        >>> import torch, sursum as su
        >>> su.gp.periodic_basis(torch.arange(12.0), 3, 12.0).shape
        torch.Size([12, 7])
    """
    j = torch.arange(whole_number("count", count, 1, ArgumentError, "it is a number of waves") + 1).to(x)
    angles = 2 * math.pi / period * x.unsqueeze(-1) * j
    return torch.cat([torch.cos(angles), torch.sin(angles[..., 1:])], -1)


def periodic(lengthscale: Tensor | float, basis: Tensor, weights: Tensor) -> Tensor:
    r"""Values of a periodic process, by its Fourier series.

    The kernel is `Periodic`, whose series has the coefficients

    .. math:: \exp\left(-\frac{2 \sin^2(d/2)}{\ell^2}\right) = e^{-a} I_0(a) + 2 \sum_j e^{-a} I_j(a) \cos(j d),
              \qquad a = \ell^{-2}

    Args:
        lengthscale: ℓ.
        basis: of `periodic_basis`.
        weights: standard normal numbers, shape (2J + 1,).

    Returns:
        f(x), shape (N,).

    Example:
        >>> import torch, sursum as su
        >>> basis = su.gp.periodic_basis(torch.arange(12.0), 3, 12.0)
        >>> su.gp.periodic(1.0, basis, torch.ones(7)).shape
        torch.Size([12])
    """
    count = (basis.shape[-1] - 1) // 2
    inverse = torch.as_tensor(lengthscale, dtype=basis.dtype).square()  # 1/a
    # Ratios I_{j+1}/I_j, from far out, where they are nearly 0 (Miller); e^a = I₀ + 2 Σ I_j normalises.
    ratio = torch.zeros_like(inverse)
    ratios = []
    for j in range(count + _BEYOND, 0, -1):
        ratio = 1 / (2 * j * inverse + ratio)
        ratios.append(ratio)
    growth = torch.cat([torch.ones_like(inverse).reshape(1), torch.stack(ratios[::-1]).cumprod(0)])
    shares = growth / (2 * growth.sum() - growth[0])
    variances = torch.cat([shares[:1], 2 * shares[1 : count + 1], 2 * shares[1 : count + 1]])
    return basis @ (variances.sqrt() * weights)
