r"""The densities of Gamma, Beta, Dirichlet and F numbers, whose terms cancel where the concentrations are large.

By Stirling's formula :math:`x^a e^{-x} / \Gamma(a)` is a power of :math:`x / a`, and with :math:`n = \sum_k a_k` is
:math:`\Gamma(n) \prod_k x_k^{a_k} / \Gamma(a_k)` a product of powers of :math:`n x_k / a_k`. Those are close to 1 where the
density is not next to 0, and what matters is by how much they are not: :math:`a\, (\log (1 + d) - d)`, with a series in d.

References:
    Loader (2000), Fast and accurate computation of binomial probabilities.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sursum.distributions.log_gamma import stirling_rest

_LARGE = 64.0
"""From this sum of the concentrations on; below, the usual formula has its digits."""


def log_gamma_power(a: Tensor, x: Tensor, log_x: Tensor) -> Tensor:
    r""":math:`\log x^a e^{-x} / \Gamma(a)`: x times the density of a Gamma number.

    Example:
        >>> a = torch.tensor(1e150, dtype=torch.float64)
        >>> log_gamma_power(a, a, a.log())
        tensor(171.7749, dtype=torch.float64)
    """
    usual = a * log_x - x - torch.lgamma(a)
    norm = (torch.log(a) - math.log(2 * math.pi)) / 2 - stirling_rest(a)
    return torch.where(a < _LARGE, usual, _power(a, x - a, log_x - torch.log(a)) + norm)


def log_beta_density(a: Tensor, b: Tensor, x: Tensor, y: Tensor) -> Tensor:
    r""":math:`\log x^{a - 1} y^{b - 1} / B(a, b)`, where y is 1 − x.

    Example:
        >>> a, x = torch.tensor(1e150, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
        >>> log_beta_density(a, a, x, x)
        tensor(172.8147, dtype=torch.float64)
    """
    n, away = a + b, b * x - a * y
    usual = torch.xlogy(a - 1, x) + torch.xlogy(b - 1, y) + torch.lgamma(n) - torch.lgamma(a) - torch.lgamma(b)
    stable = _share(a, away, x, n) + _share(b, -away, y, n) + _norm(a, b)
    return torch.where((n < _LARGE) | (a * b == 0), usual, stable)


def log_dirichlet_density(a: Tensor, x: Tensor) -> Tensor:
    r""":math:`\log \Gamma(n) \prod_k x_k^{a_k - 1} / \Gamma(a_k)`, over the rightmost dimension."""
    total = a.sum(-1)
    n = total.unsqueeze(-1)
    usual = torch.xlogy(a - 1, x).sum(-1) + torch.lgamma(total) - torch.lgamma(a).sum(-1)
    # The shares' distances from their means add up to nothing, if they themselves add up to 1.
    shares = _share(a, n * x - a, x, n).sum(-1) + total * (x.sum(-1) - 1)
    norm = (torch.log(a).sum(-1) - torch.log(total) - (a.shape[-1] - 1) * math.log(2 * math.pi)) / 2
    rest = stirling_rest(total) - stirling_rest(a).sum(-1)
    return torch.where(total < _LARGE, usual, shares + norm + rest)


def log_beta_powers(a: Tensor, b: Tensor, away: Tensor, first: Tensor, second: Tensor) -> Tensor:
    r""":math:`\log x^a y^b / B(a, b)` where y is 1 − x, by n x − a and by the logarithms of n x/a and of n y/b."""
    n = a + b
    usual = a * (first + torch.log(a / n)) + b * (second + torch.log(b / n))
    usual = usual + torch.lgamma(n) - torch.lgamma(a) - torch.lgamma(b)
    stable = _power(a, away, first) + _power(b, -away, second) + _norm(a, b)
    return torch.where((n < _LARGE) | (a * b == 0), usual, stable)


def log_f_density(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    """That of F with 2a and 2b degrees of freedom: of x = b u / (a (1 − u)), where u is a Beta number."""
    scale, log_x = a * x + b, torch.log(x)
    ratio = torch.log((a + b) / scale)
    return log_beta_powers(a, b, a * (b / scale) * (x - 1), ratio + log_x, ratio) - log_x


def _norm(a: Tensor, b: Tensor) -> Tensor:
    """What Stirling's formula leaves of -log B(a, b) beside the powers."""
    n = a + b
    size = torch.log(a) + torch.log(b) - torch.log(n) - math.log(2 * math.pi)
    return size / 2 + stirling_rest(n) - stirling_rest(a) - stirling_rest(b)


def _share(a: Tensor, away: Tensor, x: Tensor, n: Tensor) -> Tensor:
    r""":math:`\log (n x / a)^a / x` less `away`, which is n x − a."""
    near, power = _near(a, away, 64, 9)  # a short series, since each datum takes it: x has its digits farther out as well
    far = torch.xlogy(a - 1, x) - a * torch.log((a / n).clamp(min=torch.finfo(a.dtype).tiny)) - away
    return torch.where(near, power - torch.log(x), far)


def _power(a: Tensor, away: Tensor, log_ratio: Tensor) -> Tensor:
    """a times the logarithm of (a + `away`)/a, which is given, less `away`."""
    near, power = _near(a, away, 4, 19)  # a long one: close to 1 the logarithm that is given has lost digits
    return torch.where(near, power, a * log_ratio - away)


def _near(a: Tensor, away: Tensor, within: int, order: int) -> tuple[Tensor, Tensor]:
    """Whether d, `away` over a, is below 1 / `within`, and a (log(1 + d) − d) where it is: a series in d/(2 + d)."""
    near = away.abs() < a / within
    away = torch.where(near, away, 0.0)
    r = away / (2 * a + away)
    square, series = r.square(), torch.zeros_like(r)
    for k in range(order, 1, -2):
        series = 1 / k + square * series
    return near, r * (2 * a * square * series - away)
