"""Gaussian processes through a few inducing points: for N points and M inducing ones the work is N M², not N³."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.standard import LowRankMultivariateNormal, MultivariateNormal
from sursum.gp.exact import factor
from sursum.gp.kernels import Kernel


def fitc(
    kernel: Kernel, x: Tensor, inducing: Tensor, noise: Tensor | float, mean: Tensor | float = 0.0
) -> LowRankMultivariateNormal:
    r"""The distribution of y = f(x) + ε where the values of f are independent, given those at the inducing points (FITC).

    .. math:: \mathrm{Normal}(m, Q + \mathrm{diag}(K - Q) + \sigma^2 I), \qquad Q = K_{xu} K_{uu}^{-1} K_{ux}

    Args:
        kernel: the covariance of f.
        x: points, shape (N,) or (N, D).
        inducing: inducing points, shape (M,) or (M, D); they may be parameters.
        noise: the standard deviation σ of ε.
        mean: the mean of f.

    References:
        Snelson and Ghahramani (2006), Sparse Gaussian processes using pseudo-inputs.

    Example:
        >>> import torch, sursum as su
        >>> x = torch.linspace(0.0, 1.0, 100)
        >>> su.gp.fitc(su.gp.RBF(0.5), x, x[::10], 0.1).cov_factor.shape
        torch.Size([100, 10])
    """
    across = _across(kernel, x, inducing)
    rest = (kernel.diagonal(x) - across.square().sum(1)).clamp(min=0.0)
    return LowRankMultivariateNormal(_mean(mean, across), across, rest + _variance(noise, across))


class Titsias(LowRankMultivariateNormal):
    r"""The bound of Titsias: :math:`\log \mathrm{Normal}(y; m, Q + \sigma^2 I) - \tfrac{1}{2} \sum_i r_i / \sigma_i^2`.

    Args:
        loc: the mean m, shape (N,).
        cov_factor: W with Q = W Wᵀ, shape (N, M).
        cov_diag: σ², shape (N,).
        rest: r, the variance of f that the inducing points leave, shape (N,).
    """

    arg_constraints = {  # noqa: RUF012
        **LowRankMultivariateNormal.arg_constraints,
        "rest": constraints.independent(constraints.nonnegative, 1),
    }

    def __init__(
        self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, rest: Tensor, validate_args: bool | None = None
    ) -> None:
        self.rest = rest
        super().__init__(loc, cov_factor, cov_diag, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = super().expand(batch_shape, self._get_checked_instance(Titsias, _instance))
        new.rest = self.rest
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        found: Tensor = super().log_prob(value) - (self.rest / self.cov_diag).sum(-1) / 2
        return found


def titsias(kernel: Kernel, x: Tensor, inducing: Tensor, noise: Tensor | float, mean: Tensor | float = 0.0) -> Titsias:
    """The variational bound on the log density of y = f(x) + ε, maximised over f at the inducing points; arguments as `fitc`.

    It is never above the exact log density, so that inducing points may be parameters that are fitted.

    References:
        Titsias (2009), Variational learning of inducing variables in sparse Gaussian processes.

    Example:
        >>> import torch, sursum as su
        >>> x, y = torch.linspace(0.0, 1.0, 30), torch.zeros(30)
        >>> bound = su.gp.titsias(su.gp.RBF(0.5), x, x[::10], 0.1).log_prob(y)
        >>> bool(bound <= su.gp.marginal(su.gp.RBF(0.5), x, 0.1).log_prob(y))
        True
    """
    across = _across(kernel, x, inducing)
    rest = (kernel.diagonal(x) - across.square().sum(1)).clamp(min=0.0)
    return Titsias(_mean(mean, across), across, _variance(noise, across), rest)


def sparse_conditional(
    kernel: Kernel,
    new: Tensor,
    inducing: Tensor,
    x: Tensor,
    y: Tensor,
    noise: Tensor | float,
    *,
    method: str = "titsias",
    mean: Tensor | float = 0.0,
    new_mean: Tensor | float = 0.0,
) -> MultivariateNormal:
    """The distribution of f at `new` points, given y = f(x) + ε, through the inducing points.

    Args:
        method: "titsias" or "fitc", by which the parameters were found. The others are those of `fitc` and `conditional`.

    Example:
        >>> import torch, sursum as su
        >>> x = torch.linspace(0.0, 6.0, 50)
        >>> found = su.gp.sparse_conditional(su.gp.RBF(1.0), torch.tensor([1.57]), x[::5], x, x.sin(), 0.1)
        >>> bool((found.mean - 1).abs() < 0.05)
        True
    """
    lower = factor(kernel(inducing))
    seen = torch.linalg.solve_triangular(lower, kernel(inducing, x), upper=False)
    there = torch.linalg.solve_triangular(lower, kernel(inducing, new), upper=False)
    variance = _variance(noise, seen.T)
    if method == "fitc":
        variance = variance + (kernel.diagonal(x) - seen.square().sum(0)).clamp(min=0.0)
    scaled = seen / variance
    inner = torch.linalg.cholesky(torch.eye(len(lower), dtype=lower.dtype, device=lower.device) + scaled @ seen.T)
    across = torch.linalg.solve_triangular(inner, there, upper=False)
    weights = torch.linalg.solve_triangular(inner, (scaled @ (y - mean)).unsqueeze(-1), upper=False)
    prior = kernel(new)
    found = (across.T @ weights).squeeze(-1) + torch.as_tensor(new_mean, dtype=prior.dtype)
    return MultivariateNormal(found, scale_tril=factor(prior - there.T @ there + across.T @ across))


def _across(kernel: Kernel, x: Tensor, inducing: Tensor) -> Tensor:
    """W with W Wᵀ = Q, shape (N, M)."""
    found: Tensor = torch.linalg.solve_triangular(factor(kernel(inducing)), kernel(inducing, x), upper=False)
    return found.T


def _variance(noise: Tensor | float, across: Tensor) -> Tensor:
    return torch.as_tensor(noise, dtype=across.dtype).square().expand(len(across))


def _mean(mean: Tensor | float, across: Tensor) -> Tensor:
    return torch.as_tensor(mean, dtype=across.dtype).expand(len(across))
