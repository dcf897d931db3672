"""torch's constraints, and those that torch lacks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions.constraints import (
    Constraint,
    boolean,
    cat,
    corr_cholesky,
    dependent,
    dependent_property,
    greater_than,
    greater_than_eq,
    half_open_interval,
    independent,
    integer_interval,
    interval,
    is_dependent,
    less_than,
    lower_cholesky,
    lower_triangular,
    multinomial,
    nonnegative,
    nonnegative_integer,
    one_hot,
    positive,
    positive_definite,
    positive_integer,
    positive_semidefinite,
    real,
    real_vector,
    simplex,
    square,
    stack,
    symmetric,
    unit_interval,
)

__all__ = [
    "Constraint",
    "boolean",
    "cat",
    "circular",
    "column_stochastic",
    "corr_cholesky",
    "corr_matrix",
    "dependent",
    "dependent_property",
    "greater_than",
    "greater_than_eq",
    "half_open_interval",
    "independent",
    "integer",
    "integer_interval",
    "interval",
    "is_dependent",
    "l1_ball",
    "less_than",
    "lower_cholesky",
    "lower_triangular",
    "multinomial",
    "nonnegative",
    "nonnegative_integer",
    "one_hot",
    "ordered",
    "ordered_vector",
    "positive",
    "positive_definite",
    "positive_integer",
    "positive_ordered",
    "positive_ordered_vector",
    "positive_semidefinite",
    "real",
    "real_vector",
    "row_stochastic",
    "simplex",
    "softplus_lower_cholesky",
    "softplus_positive",
    "sphere",
    "square",
    "stack",
    "symmetric",
    "unit_interval",
    "unit_vector",
    "zero_sum",
]

_SLACK = 1e-6  # torch's own, of sums that are to be 1


class OpenedInterval(type(interval(0, 1))):  # type: ignore[misc]
    """[lower, upper], tensors whose elements may be infinite."""

    def __repr__(self) -> str:  # torch's method strips the leading underscore of its own names
        return f"O{super().__repr__()}"


class Ordered(Constraint):
    """Vectors whose elements increase strictly along the last dimension, and lie in a set of numbers: by default all."""

    event_dim = 1
    elements: Any = real

    def __init__(self, elements: Any = real) -> None:
        self.elements = elements
        super().__init__()

    def __repr__(self) -> str:
        return "Ordered()" if self.elements is real else f"Ordered({self.elements!r})"

    def check(self, value: Tensor) -> Tensor:
        rising = (value[..., 1:] > value[..., :-1]).all(-1)
        return rising if self.elements is real else rising & self.elements.check(value).all(-1)


class CorrelationMatrix(Constraint):
    """Symmetric positive definite matrices with ones on the diagonal."""

    event_dim = 2

    def __repr__(self) -> str:
        return "CorrelationMatrix()"

    def check(self, value: Tensor) -> Tensor:
        ones = ((value.diagonal(dim1=-2, dim2=-1) - 1).abs() < _SLACK).all(-1)
        definite: Tensor = positive_definite.check(value)
        return ones & definite


class Sphere(Constraint):
    """Vectors of length 1."""

    event_dim = 1

    def __repr__(self) -> str:
        return "Sphere()"

    def check(self, value: Tensor) -> Tensor:
        return (value.square().sum(-1) - 1).abs() < _SLACK


class ZeroSum(Constraint):
    """Tensors with sums of zero along each of their last `event_dim` dimensions; called with a number, along that many."""

    def __init__(self, event_dim: int = 1) -> None:
        self._dims = event_dim
        super().__init__()

    def __call__(self, event_dim: int) -> ZeroSum:
        return ZeroSum(event_dim)

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return self._dims

    def __repr__(self) -> str:
        return f"ZeroSum({self._dims})"

    def check(self, value: Tensor) -> Tensor:
        inside = torch.ones(value.shape[: value.dim() - self._dims], dtype=torch.bool, device=value.device)
        size = 1 + value.abs().flatten(value.dim() - self._dims).sum(-1)
        for dim in range(-self._dims, 0):
            sums = value.sum(dim).abs()
            worst = sums.flatten(sums.dim() - self._dims + 1).amax(-1) if self._dims > 1 else sums
            inside = inside & (worst <= _SLACK * size)
        return inside


class L1Ball(Constraint):
    """Vectors whose absolute values add up to less than 1."""

    event_dim = 1

    def __repr__(self) -> str:
        return "L1Ball()"

    def check(self, value: Tensor) -> Tensor:
        return value.abs().sum(-1) < 1 + _SLACK


class ColumnStochastic(Constraint):
    """Matrices of positive numbers whose columns add up to 1."""

    event_dim = 2

    def __repr__(self) -> str:
        return "ColumnStochastic()"

    def check(self, value: Tensor) -> Tensor:
        columns: Tensor = simplex.check(value.mT)
        return columns.all(-1)


class SoftplusPositive(type(positive)):  # type: ignore[misc]
    """Positive numbers, as the softplus of a real number: linear where the others are exponential."""

    def __init__(self) -> None:
        super().__init__(0.0)

    def __repr__(self) -> str:
        return "SoftplusPositive()"


class SoftplusLowerCholesky(type(lower_cholesky)):  # type: ignore[misc]
    """Lower triangular matrices whose diagonal is the softplus of real numbers."""

    def __repr__(self) -> str:
        return "SoftplusLowerCholesky()"


class Integer(Constraint):
    """Whole numbers, negative ones too."""

    is_discrete = True

    def __repr__(self) -> str:
        return "Integer()"

    def check(self, value: Tensor) -> Tensor:
        return value % 1 == 0


class WithZero(Constraint):
    """A set and the number 0, of a distribution that gives 0 a probability of its own: none that has gradients."""

    is_discrete = True

    def __init__(self, base_constraint: Any) -> None:
        self.base_constraint = base_constraint
        super().__init__()

    def __repr__(self) -> str:
        return f"WithZero({self.base_constraint!r})"

    def check(self, value: Tensor) -> Tensor:
        return torch.as_tensor(self.base_constraint.check(value)) | (value == 0)


def _shown(bound: Tensor) -> str:
    """A bound, or the range of several."""
    if not bound.numel() or bound.numel() == 1:
        return f"{float(bound):.4g}" if bound.numel() else "none"
    return f"{float(bound.min()):.4g} to {float(bound.max()):.4g}"


class Clamped(Constraint):
    """A set cut off at bounds, which have probabilities of their own: no density for gradients."""

    is_discrete = True

    def __init__(self, base_constraint: Any, low: Tensor | None, high: Tensor | None) -> None:
        self.base_constraint, self.low, self.high = base_constraint, low, high
        super().__init__()

    def __repr__(self) -> str:
        bounds = [f", {name}={_shown(at)}" for name, at in (("low", self.low), ("high", self.high)) if at is not None]
        return f"Clamped({self.base_constraint!r}{''.join(bounds)})"

    def check(self, value: Tensor) -> Tensor:
        inside = torch.as_tensor(self.base_constraint.check(value))
        if self.low is not None:
            inside = (inside & (value >= self.low)) | (value == self.low)
        if self.high is not None:
            inside = (inside & (value <= self.high)) | (value == self.high)
        return inside


class Intervals(Constraint):
    """Pairs of bounds, of which those that are none are infinite."""

    is_discrete = True
    event_dim = 1
    accepts_nonfinite = True

    def __init__(self, base_constraint: Any) -> None:
        self.base_constraint = base_constraint
        super().__init__()

    def __repr__(self) -> str:
        return f"Intervals({self.base_constraint!r})"

    def check(self, value: Tensor) -> Tensor:
        return (value[..., 0] <= value[..., 1]) & ~torch.isnan(value).any(-1)


class RealOrNan(Constraint):
    """Tensors of numbers with `event_dim` dimensions, of which those that are missing are NaN."""

    accepts_nonfinite = True

    def __init__(self, event_dim: int = 0) -> None:
        self._dims = event_dim
        super().__init__()

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return self._dims

    def __repr__(self) -> str:
        return f"RealOrNan({self._dims})"

    def check(self, value: Tensor) -> Tensor:
        usual = ~torch.isinf(value)
        return usual.flatten(value.dim() - self._dims).all(-1) if self._dims else usual


integer = Integer()
ordered = ordered_vector = Ordered()
positive_ordered = positive_ordered_vector = Ordered(positive)
corr_matrix = CorrelationMatrix()
sphere = unit_vector = Sphere()
zero_sum = ZeroSum()
l1_ball = L1Ball()
row_stochastic = independent(simplex, 1)
column_stochastic = ColumnStochastic()
circular = interval(-math.pi, math.pi)
softplus_positive = SoftplusPositive()
softplus_lower_cholesky = SoftplusLowerCholesky()
