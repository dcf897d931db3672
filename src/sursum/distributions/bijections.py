r"""Bijections from unconstrained coordinates :math:`u \in R^k` onto supports, with log-Jacobians.

torch's `biject_to` covers most supports; those that it lacks, or covers without a Jacobian, are here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    IndependentTransform,
    SoftplusTransform,
    Transform,
    biject_to,
    constraints,
)
from torch.nn.functional import logsigmoid

from sursum.distributions.complement import with_complement
from sursum.distributions.constraints import (
    ColumnStochastic,
    CorrelationMatrix,
    L1Ball,
    OpenedInterval,
    Ordered,
    RealOrNan,
    SoftplusLowerCholesky,
    SoftplusPositive,
    Sphere,
    ZeroSum,
    ordered,
)
from sursum.distributions.curved import L1BallBijection, SphereProjection, TransposedBijection, ZeroSumBijection
from sursum.distributions.matrix_bijections import (
    CorrCholeskyBijection,
    CorrMatrixBijection,
    LowerCholeskyBijection,
    PositiveDefiniteBijection,
    SoftplusLowerCholeskyBijection,
)
from sursum.errors import DensityError


def bijection(support: Any) -> Any:
    r"""The bijection of :math:`R^k` onto `support`.

    Args:
        support: a constraint, e.g. ``constraints.positive``.

    Returns:
        A `Transform` with ``forward_shape``, ``inverse_shape``, ``inv`` and ``log_abs_det_jacobian``.

    Raises:
        DensityError: no bijection is known.

    Example:
        >>> import torch
        >>> from sursum.distributions import constraints
        >>> bijection(constraints.ordered)(torch.tensor([1.0, 0.0, 0.0]))
        tensor([1., 2., 3.])
    """
    for kind in type(support).__mro__:
        if kind in BIJECTIONS:
            return BIJECTIONS[kind](support)
    try:
        return biject_to(support)
    except NotImplementedError:
        raise DensityError(
            f"no bijection from unconstrained coordinates onto {support!r} is known. "
            "Write the site with a support that has one, e.g. by transforming a site of another distribution."
        ) from None


class UnitIntervalBijection(Transform):
    r"""Onto [0, 1] by :math:`x = \sigma(u)`, with log-Jacobian :math:`\log \sigma(u) + \log \sigma(-u)`.

    The complement, :math:`1 - x = \sigma(-u)`, keeps full precision where x rounds to 1, and `Beta` uses it: see `complement`.
    """

    domain = constraints.real
    codomain = constraints.unit_interval
    bijective = True
    sign = 1

    def _call(self, x: Tensor) -> Tensor:
        tiny = torch.finfo(x.dtype).tiny
        return with_complement(x.sigmoid().clamp(min=tiny), (-x).sigmoid().clamp(min=tiny))

    def _inverse(self, y: Tensor) -> Tensor:
        limits = torch.finfo(y.dtype)
        y = y.clamp(min=limits.tiny, max=1 - limits.eps / 2)
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return logsigmoid(x) + logsigmoid(-x)


class SimplexBijection(Transform):
    r"""Onto vectors of K positive numbers with sum 1, by breaking a stick.

    .. math:: t_k = u_k - \log(K - k), \quad \log x_k = \log r_k + \log \sigma(t_k), \quad
        \log r_{k+1} = \log r_k + \log \sigma(-t_k), \quad x_K = r_K

    where :math:`r_k` is the rest of the stick, with log-Jacobian :math:`\sum_{k<K} \log x_k + \log \sigma(-t_k)`. In
    logarithms every element has full precision, however small it is.

    References:
        Stan Reference Manual, "Unit simplex".
    """

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def forward_shape(self, shape: Any) -> torch.Size:
        return torch.Size([*shape[:-1], shape[-1] + 1])

    def inverse_shape(self, shape: Any) -> torch.Size:
        return torch.Size([*shape[:-1], shape[-1] - 1])

    def _call(self, x: Tensor) -> Tensor:
        shares, rests = self._logarithms(x)
        rest = rests.cumsum(-1)
        logs = torch.nn.functional.pad(shares, (0, 1)) + torch.nn.functional.pad(rest, (1, 0))
        return logs.exp().clamp(min=torch.finfo(x.dtype).tiny)

    def _inverse(self, y: Tensor) -> Tensor:
        rest = y.flip(-1).cumsum(-1).flip(-1)[..., 1:]
        return y[..., :-1].log() - rest.log() + self._equal(y[..., :-1])

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        shares, rests = self._logarithms(x)
        # Σₖ log rₖ: each log σ(−tₖ) is in all later terms.
        count = torch.arange(x.shape[-1], 0, -1, dtype=x.dtype, device=x.device)
        return (shares + count * rests).sum(-1)

    def _logarithms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log σ(t) and log σ(−t)."""
        t = x - self._equal(x)
        return logsigmoid(t), logsigmoid(-t)

    @staticmethod
    def _equal(x: Tensor) -> Tensor:
        """The offset that makes all elements equal at 0."""
        return torch.arange(x.shape[-1], 0, -1, dtype=x.dtype, device=x.device).log()


def _is_zero(bound: Any) -> bool:
    return not isinstance(bound, Tensor) and bound == 0


class OrderedTransform(Transform):
    r"""Onto increasing vectors: :math:`x_1 = u_1,\; x_i = x_{i-1} + e^{u_i}`, with log-Jacobian :math:`\sum_{i>1} u_i`.

    References:
        Stan Reference Manual, "Ordered vector".
    """

    domain = constraints.real_vector
    codomain = ordered
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        return torch.cat([x[..., :1], x[..., 1:].exp()], -1).cumsum(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        return torch.cat([y[..., :1], y.diff(dim=-1).log()], -1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x[..., 1:].sum(-1)


class OpenedIntervalBijection(Transform):
    r"""Onto [a, b] by :math:`x = a + (b - a) \sigma(u)`; for elements with infinite b by :math:`x = a + e^u`, with
    infinite a by :math:`x = b - e^u`. Elements where both are infinite are not supported.
    """

    domain = constraints.real
    bijective = True

    def __init__(self, lower: Tensor, upper: Tensor) -> None:
        super().__init__()
        self.above, self.below = upper.isinf(), lower.isinf()
        self.opened = self.above | self.below
        # Infinite ends, and the width there, are replaced by finite numbers, so that no branch has an infinite
        # gradient.
        self.end = torch.where(self.below, upper, lower)
        self.direction = torch.where(self.below, -torch.ones_like(upper), torch.ones_like(upper))
        self.width = torch.where(self.opened, torch.ones_like(upper), upper - lower)

    @property
    def codomain(self) -> Any:  # type: ignore[override]
        lower = torch.where(self.below, -torch.inf, self.end)
        upper = torch.where(self.above, torch.inf, torch.where(self.below, self.end, self.end + self.width))
        return OpenedInterval(lower, upper)

    def _call(self, x: Tensor) -> Tensor:
        return self.end + torch.where(self.opened, self.direction * self._opened(x).exp(), self.width * x.sigmoid())

    def _inverse(self, y: Tensor) -> Tensor:
        away = self.direction * (y - self.end)
        share = torch.where(self.opened, 0.5, away / self.width)
        return torch.where(self.opened, torch.where(self.opened, away, 1.0).log(), share.logit())

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        inside = self.width.log() + logsigmoid(x) + logsigmoid(-x)
        return torch.where(self.opened, self._opened(x), inside)

    def _opened(self, x: Tensor) -> Tensor:
        return torch.where(self.opened, x, torch.zeros_like(x))


def _onto_independent(support: Any) -> Any:
    return IndependentTransform(bijection(support.base_constraint), support.reinterpreted_batch_ndims)


def _onto_ordered(support: Any) -> Any:
    if support.elements is constraints.real:
        return OrderedTransform()
    return ComposeTransform([OrderedTransform(), IndependentTransform(bijection(support.elements), 1)])


def _onto_real_or_nan(support: Any) -> Any:
    dims = support.event_dim
    return bijection(constraints.independent(constraints.real, dims) if dims else constraints.real)


def _onto_above(support: Any) -> Any:
    return ExpTransform() if _is_zero(support.lower_bound) else biject_to(support)


def _onto_interval(support: Any) -> Any:
    lower, upper = support.lower_bound, support.upper_bound
    if _is_zero(lower) and not isinstance(upper, Tensor) and upper == 1:
        return UnitIntervalBijection()
    return ComposeTransform([UnitIntervalBijection(), AffineTransform(lower, upper - lower)])


BIJECTIONS: Mapping[type, Callable[[Any], Any]] = {
    type(constraints.real_vector): _onto_independent,
    type(constraints.positive): _onto_above,
    type(constraints.nonnegative): _onto_above,
    type(constraints.interval(0, 1)): _onto_interval,
    type(constraints.half_open_interval(0, 1)): _onto_interval,
    type(constraints.simplex): lambda support: SimplexBijection(),
    type(constraints.lower_cholesky): lambda support: LowerCholeskyBijection(),
    type(constraints.corr_cholesky): lambda support: CorrCholeskyBijection(),
    type(constraints.positive_definite): lambda support: PositiveDefiniteBijection(),
    type(constraints.positive_semidefinite): lambda support: PositiveDefiniteBijection(),
    OpenedInterval: lambda support: OpenedIntervalBijection(support.lower_bound, support.upper_bound),
    Ordered: _onto_ordered,
    RealOrNan: _onto_real_or_nan,
    SoftplusPositive: lambda support: SoftplusTransform(),
    SoftplusLowerCholesky: lambda support: SoftplusLowerCholeskyBijection(),
    CorrelationMatrix: lambda support: CorrMatrixBijection(),
    Sphere: lambda support: SphereProjection(),
    ZeroSum: lambda support: ZeroSumBijection(support.event_dim),
    L1Ball: lambda support: L1BallBijection(),
    ColumnStochastic: lambda support: TransposedBijection(IndependentTransform(SimplexBijection(), 1)),
}
"""By the class of a support, or the nearest class that it is derived from; torch has the others."""
