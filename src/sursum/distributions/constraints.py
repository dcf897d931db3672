"""torch's constraints, and `ordered`, which torch lacks."""

from __future__ import annotations

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
    "corr_cholesky",
    "dependent",
    "dependent_property",
    "greater_than",
    "greater_than_eq",
    "half_open_interval",
    "independent",
    "integer_interval",
    "interval",
    "is_dependent",
    "less_than",
    "lower_cholesky",
    "lower_triangular",
    "multinomial",
    "nonnegative",
    "nonnegative_integer",
    "one_hot",
    "ordered",
    "positive",
    "positive_definite",
    "positive_integer",
    "positive_semidefinite",
    "real",
    "real_vector",
    "simplex",
    "square",
    "stack",
    "symmetric",
    "unit_interval",
]


class OpenedInterval(type(interval(0, 1))):  # type: ignore[misc]
    """[lower, upper], tensors whose elements may be infinite."""

    def __repr__(self) -> str:  # torch's method strips the leading underscore of its own names
        return f"O{super().__repr__()}"


class Ordered(Constraint):
    """Vectors whose elements increase strictly along the last dimension."""

    event_dim = 1

    def __repr__(self) -> str:
        return "Ordered()"

    def check(self, value: Tensor) -> Tensor:
        return (value[..., 1:] > value[..., :-1]).all(-1)


ordered = Ordered()
