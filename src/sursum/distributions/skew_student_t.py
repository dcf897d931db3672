"""`SkewStudentT`: Student's t with a different tail on either side."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.special.functions import log_betainc, log_betaincc
from sursum.common.torch_private import standard_gamma
from sursum.distributions.concentrated import log_beta_powers
from sursum.distributions.family import Family, uniform
from sursum.distributions.log_gamma import log_rising
from sursum.distributions.tails import Tails


class SkewStudentT(Family):
    r"""The skew t distribution of Jones and Faddy, z = (x − μ)/σ and :math:`r = z / \sqrt{a + b + z^2}`:

    .. math:: p(x) = \frac{(1 + r)^{a + 1/2} (1 - r)^{b + 1/2}}{\sigma\, 2^{a + b - 1} B(a, b) \sqrt{a + b}}

    Equal a and b give Student's t with 2a degrees of freedom.

    Args:
        a: a > 0; the left tail is that of Student's t with 2a degrees of freedom.
        b: b > 0, the right tail's.
        loc: μ.
        scale: σ > 0.

    References:
        Jones, Faddy (2003), A skew extension of the t-distribution, with applications.

    Example:
        >>> SkewStudentT(2.0, 1.0).log_prob(torch.tensor(1.0))
        tensor(-1.2685)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "a": constraints.positive,
        "b": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    has_rsample = True
    a: Tensor
    b: Tensor
    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        a: Tensor | float,
        b: Tensor | float,
        loc: Tensor | float = 0.0,
        scale: Tensor | float = 1.0,
        validate_args: bool | None = None,
    ) -> None:
        self._keep((), validate_args, a=a, b=b, loc=loc, scale=scale)

    @property
    def mean(self) -> Tensor:
        a, b = self.a, self.b
        finite = (a > 0.5) & (b > 0.5)
        a, b = torch.where(finite, a, 1.0), torch.where(finite, b, 1.0)
        half = torch.full_like(a, 0.5)
        ratio = torch.exp(-log_rising(a - half, half) - log_rising(b - half, half))
        one_sided = torch.where(self.b > 0.5, -torch.inf, torch.where(self.a > 0.5, torch.inf, torch.nan))
        return torch.where(finite, self.loc + self.scale * (a - b) * torch.sqrt(a + b) / 2 * ratio, one_sided)

    @property
    def variance(self) -> Tensor:
        a, b = self.a, self.b
        finite = (a > 1) & (b > 1)
        a, b = torch.where(finite, a, 2.0), torch.where(finite, b, 2.0)
        second = ((a - b).square() + a + b - 2) / (a - 1) * ((a + b) / (4 * (b - 1)))
        centred = (self.mean - self.loc) / self.scale
        return torch.where(
            finite, self.scale.square() * (second - centred.square()), torch.where(self.mean.isnan(), torch.nan, torch.inf)
        )

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        # z is √(a + b) sinh of half the logit of a Beta number, whose own digits end far before the tails of z.
        half_logit = (_log_gamma_draw(self.a, shape) - _log_gamma_draw(self.b, shape)) / 2
        return self.loc + self.scale * torch.sqrt(self.a + self.b) * torch.sinh(half_logit)

    def _sides(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """log(1 + r) and log(1 − r); the smaller as that of (a + b)/(a + b + z²) less the larger."""
        z, total = (value - self.loc) / self.scale, self.a + self.b
        root = torch.sqrt(total)
        far = torch.hypot(z, root)
        large = torch.log1p(z.abs() / far)
        small = 2 * (torch.log(root) - torch.log(far)) - large
        return torch.where(z < 0, small, large), torch.where(z < 0, large, small)

    def _log_density(self, value: Tensor) -> Tensor:
        up, down = self._sides(value)
        a, b, z = self.a, self.b, (value - self.loc) / self.scale
        n, root = a + b, torch.sqrt(a + b)
        away = (b - a + n * z / torch.hypot(z, root)) / 2
        powers = log_beta_powers(a, b, away, up + torch.log(n / (2 * a)), down + torch.log(n / (2 * b)))
        return powers + (up + down - torch.log(n)) / 2 + math.log(2.0) - torch.log(self.scale)

    def _log_tails(self, value: Tensor) -> Tails:
        up, down = self._sides(value)
        left = up < down
        share = torch.exp(torch.minimum(up, down) - math.log(2.0))
        first, second = torch.where(left, self.a, self.b), torch.where(left, self.b, self.a)
        near, rest = log_betainc(first, second, share), log_betaincc(first, second, share)
        return torch.where(left, near, rest), torch.where(left, rest, near)


def _log_gamma_draw(shape: Tensor, size: torch.Size) -> Tensor:
    """The logarithm of a Gamma draw, which does not underflow: a draw for shape + 1, times U to the power of 1/shape."""
    more = standard_gamma((shape + 1).expand(size).contiguous())
    return torch.log(more) + torch.log(uniform(shape, size)) / shape
