"""`LogNormalNegativeBinomial`: counts whose rate varies by a log-normal factor beside the Gamma one."""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from sursum.common.torch_private import standard_gamma
from sursum.distributions.family import Family, normal
from sursum.distributions.log_gamma import log_rising
from sursum.errors import OptionError


class LogNormalNegativeBinomial(Family):
    r"""A negative binomial distribution with normal noise in its logits:

    .. math:: p(x) = \int N(\varepsilon \mid 0, \sigma^2)\, \mathrm{NB}(x \mid r, \ell + \varepsilon)\, d\varepsilon, \qquad
        E x = r e^{\ell + \sigma^2/2}

    The integral is that of Gauss and Hermite with a fixed number of points, whose probabilities add up to 1 too; for σ above
    1 take more of them.

    Args:
        total_count: r > 0.
        logits: ℓ.
        multiplicative_noise_scale: σ > 0.
        num_quad_points: how many points.

    References:
        Zhou, Li, Dunson, Carin (2012), Lognormal and gamma mixed negative binomial regression.

    Example:
        >>> LogNormalNegativeBinomial(2.0, 0.0, 0.5).log_prob(torch.tensor(1.0)).exp()
        tensor(0.2360)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "total_count": constraints.positive,
        "logits": constraints.real,
        "multiplicative_noise_scale": constraints.positive,
    }
    support = constraints.nonnegative_integer
    total_count: Tensor
    logits: Tensor
    multiplicative_noise_scale: Tensor

    def __init__(
        self,
        total_count: Tensor | float,
        logits: Tensor | float,
        multiplicative_noise_scale: Tensor | float,
        *,
        num_quad_points: int = 8,
        validate_args: bool | None = None,
    ) -> None:
        if num_quad_points < 1:
            raise OptionError(f"`num_quad_points` must be at least 1, but is {num_quad_points}.")
        self.num_quad_points = int(num_quad_points)
        self._keep(
            (),
            validate_args,
            total_count=total_count,
            logits=logits,
            multiplicative_noise_scale=multiplicative_noise_scale,
        )

    @property
    def mean(self) -> Tensor:
        return self.total_count * torch.exp(self.logits + self.multiplicative_noise_scale.square() / 2)

    @property
    def variance(self) -> Tensor:
        mean, noise = self.mean, self.multiplicative_noise_scale.square()
        return mean + mean.square() * (torch.expm1(noise) + torch.exp(noise) / self.total_count)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        rate = standard_gamma(self.total_count.expand(shape).contiguous())
        return torch.poisson(rate * torch.exp(self.logits + self.multiplicative_noise_scale * normal(self.logits, shape)))

    def _log_density(self, value: Tensor) -> Tensor:
        nodes, log_weights = _rule(self.num_quad_points)
        point = torch.tensor(nodes, dtype=self.logits.dtype, device=self.logits.device)
        log_weight = torch.tensor(log_weights, dtype=self.logits.dtype, device=self.logits.device)
        logits = self.logits.unsqueeze(-1) + self.multiplicative_noise_scale.unsqueeze(-1) * point
        x, r = value.unsqueeze(-1), self.total_count.unsqueeze(-1)
        choices = log_rising(self.total_count, value) - torch.lgamma(value + 1)
        return choices + (log_weight + x * logsigmoid(logits) + r * logsigmoid(-logits)).logsumexp(-1)


@functools.cache
def _rule(count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The points of the rule for a standard normal number, and the logarithms of their weights.

    The points are the eigenvalues of the recurrence of Hermite's polynomials. With orthonormal polynomials h, scaled by
    exp(−x²/4) so that none overflows, the weights are exp(−x²/2) / (n h²), in logarithms.

    References:
        Golub and Welsch (1969), Calculation of Gauss quadrature rules.
    """
    off = np.sqrt(np.arange(1.0, count))
    nodes = np.linalg.eigvalsh(np.diag(off, 1) + np.diag(off, -1))
    nodes = (nodes - nodes[::-1]) / 2
    before, here, power = np.zeros(count), np.ones(count), np.zeros(count)
    for k in range(1, count):
        before, here = here, (nodes * here - math.sqrt(k - 1) * before) / math.sqrt(k)
        size = np.maximum(np.abs(here), np.abs(before))
        before, here, power = before / size, here / size, power + np.log(size)
    log_weights = -2 * (power + np.log(np.abs(here))) - math.log(count)
    # They sum to one; the recurrence rounds all by nearly the same factor.
    log_weights -= np.log(np.sum(np.exp(log_weights)))
    return tuple(nodes.tolist()), tuple(log_weights.tolist())
