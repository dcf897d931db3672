"""Gaussian processes as they are: the distribution of observations, latent values, and predictions."""

from __future__ import annotations

import torch
from torch import Tensor

from sursum.distributions.standard import MultivariateNormal
from sursum.gp.kernels import Kernel

#: Added to a diagonal, relative to its mean, so that rounding leaves it positive definite: in double precision, and in others.
JITTER, COARSE_JITTER = 1e-9, 1e-5


def marginal(kernel: Kernel, x: Tensor, noise: Tensor | float, mean: Tensor | float = 0.0) -> MultivariateNormal:
    r"""The distribution of y = f(x) + ε: :math:`\mathrm{Normal}(m, K + \sigma^2 I)`.

    Args:
        kernel: the covariance of f.
        x: points, shape (N,) or (N, D).
        noise: the standard deviation σ of ε, a number or shape (N,).
        mean: the mean of f, a number or shape (N,).

    Example:
        >>> import torch, sursum as su
        >>> x = torch.tensor([0.0, 1.0])
        >>> su.gp.marginal(su.gp.RBF(1.0), x, 0.5).covariance_matrix
        tensor([[1.2500, 0.6065],
                [0.6065, 1.2500]])
    """
    matrix = kernel(x)
    variance = torch.as_tensor(noise, dtype=matrix.dtype).square().expand(len(matrix))
    return MultivariateNormal(_mean(mean, matrix), covariance_matrix=matrix + torch.diag(variance))


def latent(kernel: Kernel, x: Tensor, z: Tensor, mean: Tensor | float = 0.0) -> Tensor:
    """The values f(x) = m + L z of a process, with L Lᵀ = K, from standard normal numbers z, shape (N,).

    Example:
        >>> import torch, sursum as su
        >>> su.gp.latent(su.gp.RBF(1.0), torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]))
        tensor([1.0000, 0.6065])
    """
    matrix = kernel(x)
    return _mean(mean, matrix) + factor(matrix) @ z


def conditional(
    kernel: Kernel,
    new: Tensor,
    x: Tensor,
    y: Tensor,
    noise: Tensor | float = 0.0,
    mean: Tensor | float = 0.0,
    new_mean: Tensor | float = 0.0,
) -> MultivariateNormal:
    r"""The distribution of f at `new` points, given y = f(x) + ε.

    .. math:: m_* + K_{*x} (K_{xx} + \sigma^2 I)^{-1} (y - m), \qquad K_{**} - K_{*x} (K_{xx} + \sigma^2 I)^{-1} K_{x*}

    Args:
        kernel: the covariance of f.
        new: points, shape (M,) or (M, D).
        x: points that were seen, shape (N,) or (N, D).
        y: what was seen there, shape (N,); values of f itself with a noise of 0.
        noise: the standard deviation σ of ε.
        mean, new_mean: the means of f at `x` and at `new`.

    Example:
        >>> import torch, sursum as su
        >>> x, y = torch.tensor([0.0, 1.0]), torch.tensor([1.0, -1.0])
        >>> found = su.gp.conditional(su.gp.RBF(1.0), torch.tensor([0.0, 0.5]), x, y, noise=0.1)
        >>> bool((found.mean - torch.tensor([0.975, 0.0])).abs().max() < 0.01)
        True
    """
    matrix = kernel(x)
    variance = torch.as_tensor(noise, dtype=matrix.dtype).square().expand(len(matrix))
    lower = factor(matrix + torch.diag(variance))
    across = torch.linalg.solve_triangular(lower, kernel(x, new), upper=False)
    residual = torch.linalg.solve_triangular(lower, (y - mean).unsqueeze(-1), upper=False)
    prior = kernel(new)
    return MultivariateNormal(
        _mean(new_mean, prior) + (across.T @ residual).squeeze(-1), scale_tril=factor(prior - across.T @ across)
    )


def factor(matrix: Tensor) -> Tensor:
    """The Cholesky factor of a covariance, with a little added to its diagonal."""
    share = JITTER if matrix.dtype is torch.float64 else COARSE_JITTER
    amount = share * matrix.diagonal().mean().clamp(min=share)
    found: Tensor = torch.linalg.cholesky(matrix + amount * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device))
    return found


def _mean(mean: Tensor | float, matrix: Tensor) -> Tensor:
    return torch.as_tensor(mean, dtype=matrix.dtype, device=matrix.device).expand(len(matrix))
