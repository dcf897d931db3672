"""The logarithms of P(X ≤ x) and of P(X > x), accurate far out on either side; of intervals; and quantiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor
from torch.nn.functional import logsigmoid

from sursum.common.special.functions import (
    log_betainc,
    log_betaincc,
    log_gammainc,
    log_gammaincc,
    log_normal_cdf,
    log_student_t_cdf,
)
from sursum.common.special.normal_cdf import inverse_mills
from sursum.distributions.family import Family
from sursum.distributions.narrow import in_interval
from sursum.distributions.supports import support_of
from sursum.errors import DensityError

Tails = tuple[Tensor, Tensor]


def log_one_minus_exp(x: Tensor) -> Tensor:
    r""":math:`\log(1 - e^x)` for x ≤ 0.

    References:
        Mächler (2012), Accurately computing log(1 − exp(−|a|)).
    """
    near = x > -math.log(2.0)
    close, far = torch.where(near, x, -1.0), torch.where(near, -1.0, x)
    return torch.where(near, torch.log(-torch.expm1(close)), torch.log1p(-torch.exp(far)))


def log_one_minus_exp_exp(t: Tensor) -> Tensor:
    r""":math:`\log(1 - \exp(-e^t))`, which is t where :math:`e^t` has no digits next to 1, or underflows."""
    small = t < -40.0
    return torch.where(small, t, log_one_minus_exp(-finite_exp(torch.where(small, -1.0, t))))


def finite_exp(x: Tensor, power: int = 1) -> Tensor:
    """The exponential, at most a number whose power is near the largest one: infinity has no derivative, not even times 0."""
    return torch.exp(x.clamp(max=math.log(torch.finfo(x.dtype).max) / power - 2.0))


def log_tails(base: Any, value: Tensor) -> Tails:
    """The logarithms of P(X ≤ value) and of P(X > value).

    Raises:
        DensityError: the distribution has no cdf.

    Example:
        >>> import sursum.distributions as dist
        >>> [round(float(tail), 4) for tail in log_tails(dist.Normal(0.0, 1.0), torch.tensor(20.0))]
        [-0.0, -203.9172]
    """
    for kind, tails in _TAILS.items():
        if isinstance(base, kind):
            return tails(base, value)
    try:
        if isinstance(base, Family):
            return base._log_tails(value)
        below = base.cdf(value)
    except NotImplementedError:
        raise DensityError(
            f"{type(base).__name__} has no cdf, which truncation and censoring need. Use a distribution that has one."
        ) from None
    return torch.log(below), torch.log1p(-below)


def log_mass(base: Any, low: Tensor | None, high: Tensor | None) -> Tensor:
    r""":math:`\log P(low < X \le high)` of a continuous distribution; None, or infinity, is for no bound."""
    if low is None and high is None:
        return torch.zeros(base.batch_shape)
    if low is None or high is None:
        return tails_at(base, high)[0] if high is not None else tails_at(base, low)[1]
    lower, upper = tails_at(base, low), tails_at(base, high)
    # The side on which the interval lies: there its ends are small numbers, and what is left of them has its digits.
    right = lower[0] > lower[1]
    large, small = torch.where(right, lower[1], upper[0]), torch.where(right, upper[1], lower[0])
    none = small == -torch.inf
    less = torch.where(none, -1.0, small - torch.where(none, 0.0, large))
    empty = less >= 0
    cut = log_one_minus_exp(torch.where(empty, -1.0, less))
    found = torch.where(empty, -torch.inf, large + torch.where(none, 0.0, cut))
    return in_interval(base, low, high, torch.where(none, -torch.inf, less), found, lambda: _point_between(base, low, high))


def tails_at(base: Any, bound: Any) -> Tails:
    """`log_tails` at a bound, which may be infinite, or lie beyond the support, where the formulas of tails do not hold."""
    lower, upper = _ends_of_support(base)
    if lower is not None:
        bound = torch.where(bound <= lower, -torch.inf, bound)
    if upper is not None:
        bound = torch.where(bound >= upper, torch.inf, bound)
    none = torch.isinf(bound)
    below, above = log_tails(base, torch.where(none, inner_point(base, bound), bound))
    return (
        torch.where(none, torch.where(bound > 0, 0.0, -torch.inf), below),
        torch.where(none, torch.where(bound > 0, -torch.inf, 0.0), above),
    )


def _ends_of_support(base: Any) -> tuple[Any, Any]:
    """The lower and the upper one; None for none."""
    try:
        support = support_of(base)
    except NotImplementedError:
        return None, None
    return getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)


def inner_point(base: Any, like: Tensor) -> Tensor:
    """A point at which the tails and their derivatives are finite."""
    lower, upper = (None if end is None else torch.as_tensor(end).detach().to(like) for end in _ends_of_support(base))
    loc = getattr(base, "loc", None)
    point = loc.detach() if isinstance(loc, Tensor) else torch.ones_like(like)
    if lower is not None and upper is not None:
        ends = torch.where(lower.isinf(), upper - 1, lower + 1)
        bounded = torch.where(lower.isinf() | upper.isinf(), ends, lower + (upper - lower) / 2)
        point = torch.where(lower.isinf() & upper.isinf(), point, bounded)
    elif lower is not None:
        scale = None if isinstance(base, td.LogNormal) else getattr(base, "scale", None)  # its own is that of the logarithm
        point = lower + (scale.detach() if isinstance(scale, Tensor) else 1)
    elif upper is not None:
        point = upper - 1
    return point + torch.zeros_like(like)


def _point_between(base: Any, low: Tensor, high: Tensor) -> Tensor:
    """The inner point, moved to the nearer bound of those that lie inside the support, where tails are computed anyway."""
    low, high = low.detach(), high.detach()
    point = inner_point(base, low + high)
    lower, upper = (None if end is None else torch.as_tensor(end).detach() for end in _ends_of_support(base))
    for bound, nearer in ((low, torch.maximum), (high, torch.minimum)):
        inside = torch.isfinite(bound)
        inside = inside if lower is None else inside & (bound > lower)
        inside = inside if upper is None else inside & (bound < upper)
        point = torch.where(inside, nearer(point, bound), point)
    return point


def quantile(base: Any, log_below: Tensor, log_above: Tensor) -> Tensor:
    """The x for which log P(X ≤ x) is `log_below`, and log P(X > x) `log_above`; whichever is smaller counts."""
    right = log_above < log_below
    if isinstance(base, td.Normal):
        z = log_ndtri(torch.where(right, log_above, log_below))
        return base.loc + base.scale * torch.where(right, -z, z)
    if isinstance(base, (td.Cauchy, td.Laplace)) or type(base).__name__ in ("Logistic", "SoftLaplace"):
        centre: Tensor = base.loc
        away: Tensor = base.icdf(torch.where(right, log_above, log_below).exp()) - centre
        return centre + torch.where(right, -away, away)
    try:
        found: Tensor = base.icdf(log_below.exp())
    except NotImplementedError:
        return _bisect(base, log_below, log_above)
    return found


def log_ndtri(log_p: Tensor) -> Tensor:
    """The z for which log Φ(z) = `log_p`, also where Φ(z) underflows: a start, and Newton's steps on the logarithm."""
    far = (log_p < -5.0) & (log_p > -torch.inf)
    deep = torch.where(far, log_p, -6.0)
    z = -torch.sqrt(-2 * deep - torch.log(-2 * deep) - math.log(2 * math.pi))
    for _ in range(4):
        z = z - (log_normal_cdf(z) - deep) / inverse_mills(z)
    return torch.where(far, z, torch.special.ndtri(torch.where(far, -1.0, log_p).exp()))


@torch.no_grad()
def _bisect(base: Any, log_below: Tensor, log_above: Tensor) -> Tensor:
    """The quantile by bisection, of a distribution without one of its own."""
    support = base.support
    low = torch.as_tensor(getattr(support, "lower_bound", -1.0), dtype=log_below.dtype).expand(log_below.shape).clone()
    high = torch.as_tensor(getattr(support, "upper_bound", 1.0), dtype=log_below.dtype).expand(log_below.shape).clone()

    def reaches(x: Tensor) -> Tensor:
        below, above = log_tails(base, x)
        return torch.where(log_above < log_below, above <= log_above, below >= log_below)

    if not hasattr(support, "upper_bound"):
        width = torch.ones_like(high)
        for _ in range(1100):
            short = ~reaches(high)
            if not bool(short.any()):
                break
            width = torch.where(short, 2 * width, width)
            high = torch.where(short, high + width, high)
    if not hasattr(support, "lower_bound"):
        width = torch.ones_like(low)
        for _ in range(1100):
            long = reaches(low)
            if not bool(long.any()):
                break
            width = torch.where(long, 2 * width, width)
            low = torch.where(long, low - width, low)
    return _refine(base, log_below, log_above, low, high)


def _refine(base: Any, log_below: Tensor, log_above: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The quantile between two bounds, by Newton's steps on the smaller tail's logarithm, and halves where they leave those."""
    right = log_above < log_below
    eps = torch.finfo(log_below.dtype).eps
    rounding = 4 * eps * (1 + torch.minimum(log_above, log_below).abs())
    x, found = low + (high - low) / 2, torch.zeros_like(right)
    last = torch.full_like(x, torch.inf)
    for _ in range(400):
        below, above = log_tails(base, x)
        gap = torch.where(right, above - log_above, log_below - below)
        found = found | (gap.abs() <= rounding)
        low, high = torch.where(gap > 0, x, low), torch.where(gap > 0, high, x)
        new = x + gap / torch.exp(base.log_prob(x) - torch.where(right, above, below))
        usable = (new >= low) & (new <= high) & (gap.abs() <= last / 2)  # else they creep
        new = torch.where(found, x, torch.where(usable, new, low + (high - low) / 2))
        found = found | ((new - x).abs() <= 2 * eps * x.abs()) | ~(low < high)
        x, last = new, gap.abs()
        if bool(found.all()):
            break
    return x


def _normal(base: Any, value: Tensor) -> Tails:
    z = (value - base.loc) / base.scale
    return log_normal_cdf(z), log_normal_cdf(-z)


def _log_normal(base: Any, value: Tensor) -> Tails:
    return _normal(base.base_dist, value.log())


def _half_normal(base: Any, value: Tensor) -> Tails:
    above = math.log(2.0) + log_normal_cdf(-value / base.scale)
    return torch.log(torch.erf(value / (base.scale * math.sqrt(2.0)))), above


def _cauchy(base: Any, value: Tensor) -> Tails:
    z = (value - base.loc) / base.scale
    # Far out, where the derivative of atan2 underflows, P(Z > z) is 1 / (π z).
    far = z.abs() > 1e100
    near = torch.where(far, 1.0, z)
    one = torch.ones_like(z)
    tail = -torch.log(torch.where(far, z.abs(), 1.0)) - math.log(math.pi)
    below, above = (torch.log(torch.atan2(one, sign * near) / math.pi) for sign in (-1.0, 1.0))
    return (
        torch.where(far, torch.where(z < 0, tail, -0.0), below),
        torch.where(far, torch.where(z > 0, tail, -0.0), above),
    )


def _half_cauchy(base: Any, value: Tensor) -> Tails:
    z = value / base.scale
    far = z > 1e100
    near, tail = torch.where(far, 1.0, z), math.log(2 / math.pi) - torch.log(torch.where(far, z, 1.0))
    above = torch.log(torch.atan2(torch.ones_like(z), near) * (2 / math.pi))
    return torch.where(far, 0.0, torch.log(torch.atan(near) * (2 / math.pi))), torch.where(far, tail, above)


def _laplace(base: Any, value: Tensor) -> Tails:
    z = (value - base.loc) / base.scale
    near = torch.where(z < 0, z, -z) - math.log(2.0)  # |z| has no slope at 0
    far = torch.log1p(-torch.exp(near))
    return torch.where(z < 0, near, far), torch.where(z < 0, far, near)


def _exponential(base: Any, value: Tensor) -> Tails:
    above = -base.rate * value
    return log_one_minus_exp(above), above


def _weibull(base: Any, value: Tensor) -> Tails:
    hazard = base.concentration * (torch.log(value) - torch.log(base.scale))
    return log_one_minus_exp_exp(hazard), -finite_exp(hazard)


def _pareto(base: Any, value: Tensor) -> Tails:
    above = -base.alpha * torch.log(value / base.scale)
    return log_one_minus_exp(above), above


def _generalized_pareto(base: Any, value: Tensor) -> Tails:
    above = base.log_survival_function(value)
    return log_one_minus_exp(above), above


def _gumbel(base: Any, value: Tensor) -> Tails:
    rate = -(value - base.loc) / base.scale
    return -finite_exp(rate), log_one_minus_exp_exp(rate)


def _gamma(base: Any, value: Tensor) -> Tails:
    a, x = base.concentration, base.rate * value
    return log_gammainc(a, x), log_gammaincc(a, x)


def _inverse_gamma(base: Any, value: Tensor) -> Tails:
    below, above = _gamma(base.base_dist, 1 / value)
    return above, below


def _beta(base: Any, value: Tensor) -> Tails:
    a, b = base.concentration1, base.concentration0
    return log_betainc(a, b, value), log_betaincc(a, b, value)


def _student_t(base: Any, value: Tensor) -> Tails:
    z = (value - base.loc) / base.scale
    return log_student_t_cdf(base.df, z), log_student_t_cdf(base.df, -z)


def _uniform(base: Any, value: Tensor) -> Tails:
    width = base.high - base.low
    return torch.log((value - base.low) / width), torch.log((base.high - value) / width)


def _kumaraswamy(base: Any, value: Tensor) -> Tails:
    inner = base.concentration1 * torch.log(value)
    rest = log_one_minus_exp(inner)
    # Far down the power has no digits next to 1: (1 − x)^b is 1 − b x there.
    small = inner < -40.0
    below = torch.where(
        small, base.concentration0.log() + inner, log_one_minus_exp(base.concentration0 * torch.where(small, -1.0, rest))
    )
    return below, base.concentration0 * rest


_TAILS: Mapping[type, Callable[[Any, Tensor], Tails]] = MappingProxyType({
    td.Normal: _normal,
    td.LogNormal: _log_normal,
    td.HalfNormal: _half_normal,
    td.Cauchy: _cauchy,
    td.HalfCauchy: _half_cauchy,
    td.Laplace: _laplace,
    td.Exponential: _exponential,
    td.Weibull: _weibull,
    td.Pareto: _pareto,
    td.GeneralizedPareto: _generalized_pareto,
    td.Gumbel: _gumbel,
    td.InverseGamma: _inverse_gamma,
    td.Gamma: _gamma,
    td.Beta: _beta,
    td.StudentT: _student_t,
    td.Uniform: _uniform,
    td.Kumaraswamy: _kumaraswamy,
})  # fmt: skip


def logistic_tails(z: Tensor) -> Tails:
    """Those of the standard logistic distribution."""
    return logsigmoid(z), logsigmoid(-z)


def log_tilted(z: Tensor, rate: Tensor) -> Tensor:
    r""":math:`\log \Phi(z - r) + r^2 / 2 - r z`, whose large terms cancel on the left: there as :math:`-z^2/2` and a rest.

    It is the logarithm of :math:`\int_0^\infty \varphi(z - t)\, e^{-r t}\, dt`.
    """
    below = z - rate
    left = below < 0
    far = -torch.log(inverse_mills(torch.where(left, below, -1.0))) - z.square() / 2 - 0.5 * math.log(2 * math.pi)
    near = log_normal_cdf(torch.where(left, 0.0, below)) + rate * (rate / 2 - z)
    return torch.where(left, far, near)
