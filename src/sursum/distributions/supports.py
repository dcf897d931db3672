"""The supports of distributions, and whether one is a subset of another."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    ComposeTransform,
    Distribution,
    ExpTransform,
    GeneralizedPareto,
    Independent,
    IndependentTransform,
    MixtureSameFamily,
    SigmoidTransform,
    SoftplusTransform,
    TanhTransform,
    TransformedDistribution,
    VonMises,
    constraints,
)
from torch.distributions.constraints import MixtureSameFamilyConstraint

from sursum.common.precision import is_watched
from sursum.common.torch_private import without_dispatch_modes
from sursum.distributions.constraints import (
    ColumnStochastic,
    CorrelationMatrix,
    L1Ball,
    OpenedInterval,
    Ordered,
    Sphere,
    ZeroSum,
)
from sursum.distributions.fluent import Masked

_Bounds = tuple[Any, Any]

# Subset relations beyond intervals: a set on the left is a subset of each of those on the right.
_INSIDE: dict[type, tuple[type, ...]] = {
    type(constraints.corr_cholesky): (type(constraints.lower_cholesky), type(constraints.lower_triangular)),
    type(constraints.lower_cholesky): (type(constraints.lower_triangular), type(constraints.square)),
    type(constraints.lower_triangular): (type(constraints.square),),
    CorrelationMatrix: (
        type(constraints.positive_definite),
        type(constraints.positive_semidefinite),
        type(constraints.symmetric),
        type(constraints.square),
    ),
    type(constraints.positive_definite): (
        type(constraints.positive_semidefinite),
        type(constraints.symmetric),
        type(constraints.square),
    ),
    type(constraints.positive_semidefinite): (type(constraints.symmetric), type(constraints.square)),
    type(constraints.symmetric): (type(constraints.square),),
}

_ELEMENTS: dict[type, _Bounds] = {
    type(constraints.simplex): (0.0, 1.0),
    type(constraints.one_hot): (0.0, 1.0),
    type(constraints.corr_cholesky): (-1.0, 1.0),
    type(constraints.lower_cholesky): (-math.inf, math.inf),
    type(constraints.lower_triangular): (-math.inf, math.inf),
    type(constraints.positive_definite): (-math.inf, math.inf),
    type(constraints.positive_semidefinite): (-math.inf, math.inf),
    type(constraints.symmetric): (-math.inf, math.inf),
    type(constraints.square): (-math.inf, math.inf),
    Ordered: (-math.inf, math.inf),
    ZeroSum: (-math.inf, math.inf),
    CorrelationMatrix: (-1.0, 1.0),
    Sphere: (-1.0, 1.0),
    L1Ball: (-1.0, 1.0),
    ColumnStochastic: (0.0, 1.0),
}


def peel(constraint: Any) -> Any:
    """`constraint` without the independent dimensions around it."""
    while isinstance(constraint, type(constraints.real_vector)):
        constraint = constraint.base_constraint
    return constraint


def bounds(constraint: Any) -> _Bounds | None:
    """The closed interval of an interval constraint, integers included; None for anything else."""
    constraint = peel(constraint)
    if isinstance(constraint, type(constraints.real)):
        return -math.inf, math.inf
    if isinstance(constraint, type(constraints.boolean)):
        return 0, 1
    lower = getattr(constraint, "lower_bound", None)
    upper = getattr(constraint, "upper_bound", None)
    if lower is None and upper is None:
        return None
    return (-math.inf if lower is None else lower), (math.inf if upper is None else upper)


def support_of(fn: Distribution) -> Any:
    """The support of `fn`, also where torch reports too large a set, or has no bijection for it.

    A final affine map hides the support of its argument, a mixture wraps that of its components, an angle is unbounded.

    Example:
        >>> import torch, torch.distributions as td
        >>> shifted = td.TransformedDistribution(td.HalfNormal(1.0), td.AffineTransform(2.0, 3.0))
        >>> shifted.support, support_of(shifted)
        (Real(), GreaterThanEq(lower_bound=2.0))
    """
    if isinstance(fn, Masked):
        return support_of(fn.base_dist)
    if isinstance(fn, Independent):
        inner = support_of(fn.base_dist)
        count = fn.reinterpreted_batch_ndims
        return constraints.independent(inner, count) if count else inner
    if isinstance(fn, VonMises):
        # Angles: the density is periodic on the reals, and integrates to 1 over one period.
        return constraints.interval(-math.pi, math.pi)
    if isinstance(fn, GeneralizedPareto):
        # Bounded above where the concentration is negative, which may depend on q.
        return OpenedInterval(fn.support.lower_bound, fn.support.upper_bound)
    if isinstance(fn, MixtureSameFamily):
        return _hull(support_of(fn._component_distribution), len(fn.event_shape))
    if isinstance(fn, TransformedDistribution):
        reported: Any = fn.support
        image = _image(bounds(support_of(fn.base_dist)), list(fn.transforms))
        if image is None or bounds(reported) is None:
            return reported
        count = reported.event_dim
        return constraints.independent(image, count) if count else image
    return fn.support


def holds(support: Any, value: Tensor) -> Tensor:
    """Whether the values lie in a support; for a mixture, in that of any of its components.

    >>> import torch.distributions as td
    >>> ends = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0])
    >>> halves = td.MixtureSameFamily(td.Categorical(torch.ones(2)), td.Uniform(*ends))
    >>> holds(halves.support, torch.tensor([0.5, 1.5, 2.5])).tolist()
    [True, False, True]
    """
    if isinstance(support, type(constraints.real_vector)):
        inside = holds(support.base_constraint, value)
        count = support.reinterpreted_batch_ndims
        return inside.flatten(inside.dim() - count).all(-1) if count else inside
    if isinstance(support, MixtureSameFamilyConstraint):
        return holds(support.base_constraint, value.unsqueeze(-1 - support.event_dim)).any(-1)
    return cast(Tensor, support.check(value))


def _hull(support: Any, events: int) -> Any:
    """The interval that contains the supports of a mixture's components, along the last dimension before the event's."""
    limits = bounds(support)
    if limits is None or support.is_discrete or not any(isinstance(limit, Tensor) for limit in limits):
        return support
    dim = -1 - events
    lower, upper = (torch.as_tensor(limit) if isinstance(limit, Tensor) else limit for limit in limits)
    lower = lower.amin(dim) if isinstance(lower, Tensor) and lower.dim() >= -dim else lower
    upper = upper.amax(dim) if isinstance(upper, Tensor) and upper.dim() >= -dim else upper
    hull = _between(lower, upper)
    return constraints.independent(hull, support.event_dim) if support.event_dim else hull


def _between(lower: Any, upper: Any) -> Any:
    """The closed interval between bounds, one or both of which may be infinite."""
    if _infinite(lower) and _infinite(upper):
        return constraints.real
    if _infinite(upper):
        return constraints.greater_than_eq(lower)
    if _infinite(lower):
        return constraints.less_than(upper)
    return constraints.interval(lower, upper)


def _image(base: _Bounds | None, transforms: list[Any]) -> Any:
    """The interval onto which `transforms` map the interval `base`; None if unknown."""
    if base is None:
        return None
    lower, upper = base
    turned = False  # whether a half-line points in different directions for different elements, or different q
    for transform in _flat(transforms):
        if isinstance(transform, AffineTransform):
            sign = _sign(transform.scale)
            if sign is None or turned:
                turned = turned or _infinite(lower) is not _infinite(upper)
                lower, upper = _turn_interval(lower, upper, transform.loc, torch.as_tensor(transform.scale))
                continue
            ends = [_affine(end, transform.loc, transform.scale) for end in (lower, upper)]
            lower, upper = ends if sign > 0 else ends[::-1]
        elif isinstance(transform, (ExpTransform, SoftplusTransform, SigmoidTransform, TanhTransform)):
            limits = bounds(transform.codomain)
            if limits is None:
                return None
            lower, upper = (_within(end, limit, transform) for end, limit in zip((lower, upper), limits, strict=True))
        else:
            return None
    if turned:
        return OpenedInterval(*torch.broadcast_tensors(torch.as_tensor(lower), torch.as_tensor(upper)))
    # torch's own constraints, where they are equivalent.
    if _is(lower, 0.0) and _infinite(upper):
        return constraints.positive
    if _is(lower, 0.0) and _is(upper, 1.0):
        return constraints.unit_interval
    return _between(lower, upper)


def _is(bound: Any, value: float) -> bool:
    return not isinstance(bound, Tensor) and bool(bound == value)


def _flat(transforms: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for transform in transforms:
        if isinstance(transform, ComposeTransform):
            flat.extend(_flat(list(transform.parts)))
        elif isinstance(transform, IndependentTransform):
            flat.extend(_flat([transform.base_transform]))
        else:
            flat.append(transform)
    return flat


def _infinite(bound: Any) -> bool:
    return isinstance(bound, float) and math.isinf(bound)


def _affine(end: Any, loc: Any, scale: Any) -> Any:
    if not _infinite(end):
        return loc + scale * end
    sign = _sign(scale)
    return end if sign is not None and sign > 0 else -end


def _turn_interval(lower: Any, upper: Any, loc: Any, scale: Tensor) -> tuple[Any, Any]:
    """The image of an interval under an affine map of unknown sign."""
    if _infinite(lower) and _infinite(upper):
        return lower, upper
    ends = []
    for end in (lower, upper):
        infinite = torch.as_tensor(end, dtype=scale.dtype).isinf()
        number = torch.where(infinite, torch.zeros((), dtype=scale.dtype), torch.as_tensor(end, dtype=scale.dtype))
        ends.append((infinite, loc + scale * number))
    rising = scale > 0
    (below, low), (above, high) = ends
    return (
        torch.where(torch.where(rising, below, above), -torch.inf, torch.where(rising, low, high)),
        torch.where(torch.where(rising, above, below), torch.inf, torch.where(rising, high, low)),
    )


def _within(end: Any, limit: Any, transform: Any) -> Any:
    """The image of an end of an interval under `transform`; `limit` is the image of infinity on that side."""
    if _infinite(end):
        return limit
    end = torch.as_tensor(end)
    infinite = end.isinf()
    return torch.where(infinite, limit, transform(torch.where(infinite, torch.zeros_like(end), end)))


def _sign(scale: Any) -> int | None:
    """The sign of a scale, if it has one. In a capture that of a tensor is unknown: it may differ at a different q."""
    if isinstance(scale, Tensor) and is_watched():
        return None
    with torch.no_grad(), without_dispatch_modes():
        values = torch.as_tensor(scale).detach()
        if bool((values > 0).all()):
            return 1
        return -1 if bool((values < 0).all()) else None


def inside(inner: Any, outer: Any) -> bool | None:
    """Whether the closure of `inner` is a subset of that of `outer`; None if neither bounds nor types decide it."""
    inner, outer = peel(inner), peel(outer)
    if isinstance(inner, Ordered):
        own = bounds(inner.elements)
        wanted = outer.elements if isinstance(outer, Ordered) else outer
        if isinstance(outer, Ordered) or bounds(outer) is not None:
            return inside(inner.elements, wanted) if own is not None else None
    if isinstance(inner, ZeroSum) and isinstance(outer, ZeroSum):
        return inner.event_dim >= outer.event_dim
    if inner is outer or (type(inner) is type(outer) and bounds(inner) is None):
        return True
    if type(outer) in _INSIDE.get(type(inner), ()):
        return True
    if outer.is_discrete and not inner.is_discrete:
        return False
    limits = bounds(outer)
    if limits is not None:
        own = bounds(inner) or _ELEMENTS.get(type(inner))
        if own is not None:
            return _at_least(own[0], limits[0]) and _at_least(limits[1], own[1])
        return None
    known = type(outer) in _ELEMENTS and (bounds(inner) is not None or type(inner) in _ELEMENTS)
    return False if known else None


def _at_least(left: Any, right: Any) -> bool:
    with torch.no_grad(), without_dispatch_modes():
        left, right = (value.detach() if isinstance(value, Tensor) else value for value in (left, right))
        return bool(torch.as_tensor(left >= right).all())


def may_start(support: Any, value: Tensor) -> Tensor:
    """Whether `value` lies in `support`, up to the rounding of float32: a rounded draw is a valid starting point."""
    with torch.no_grad(), without_dispatch_modes():
        valid: Tensor = support.check(value) | support.check(value.to(torch.float32))
    return valid


def suggestions(constraint: Any) -> str:
    """Priors that suit `constraint`, for an error message."""
    constraint = peel(constraint)
    if constraint.is_discrete:
        return "a discrete distribution with that support"
    names = {
        type(constraints.simplex): "Dirichlet",
        type(constraints.corr_cholesky): "LKJCholesky",
        type(constraints.positive_definite): "Wishart",
        CorrelationMatrix: "LKJ",
        Sphere: "ProjectedNormal",
        ZeroSum: "ZeroSumNormal",
        ColumnStochastic: "ImproperUniform(constraint)",
    }
    if type(constraint) in names:
        return names[type(constraint)]
    if isinstance(constraint, Ordered):
        return (
            f"Sorted(dist.{'HalfNormal' if bounds(constraint.elements) == (0.0, math.inf) else 'Normal'}(…), K), of "
            "K draws in order, or ImproperUniform(constraint)"
        )
    limits = bounds(constraint)
    if limits is None or (_infinite(limits[0]) and _infinite(limits[1])):
        return "Normal, StudentT, or ImproperUniform(constraint)" if limits else "ImproperUniform(constraint)"
    lower, upper = limits
    if _infinite(upper) and not isinstance(lower, Tensor):
        shifted = "" if lower == 0 else f", shifted by {lower}"
        return f"HalfNormal, Exponential, LogNormal or Gamma{shifted}"
    if not isinstance(lower, Tensor) and not isinstance(upper, Tensor) and (lower, upper) == (0.0, 1.0):
        return "Beta or Uniform(0, 1)"
    return "Uniform with these bounds" if not _infinite(lower) else "a prior with that upper bound"
