"""Supports, each a row: it, the shape of a value, and a function of a value to as many numbers as it has free coordinates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sursum.distributions import constraints

D = torch.float64
bound = torch.tensor([0.5, -1.0, 2.0], dtype=D)


def triangle(matrix: Tensor) -> Tensor:
    n = matrix.shape[-1]
    return matrix[tuple(torch.tril_indices(n, n))]


def strict_triangle(matrix: Tensor) -> Tensor:
    n = matrix.shape[-1]
    return matrix[tuple(torch.tril_indices(n, n, -1))]


def on_plane(x: Tensor) -> Tensor:
    """Coordinates along an orthonormal basis of the vectors of zero sum."""
    n = x.shape[-1]
    basis = torch.linalg.qr(torch.eye(n, dtype=x.dtype)[:, :-1] - 1 / n).Q
    return x @ basis


SUPPORTS: dict[str, tuple[Any, tuple[int, ...], Callable[[Tensor], Tensor]]] = {
    "real": (constraints.real, (3,), torch.flatten),
    "real_vector": (constraints.real_vector, (3,), torch.flatten),
    "positive": (constraints.positive, (3,), torch.flatten),
    "nonnegative": (constraints.nonnegative, (3,), torch.flatten),
    "unit_interval": (constraints.unit_interval, (3,), torch.flatten),
    "interval": (constraints.interval(-2.0, 5.0), (3,), torch.flatten),
    "interval with tensors": (constraints.interval(bound, bound + 2), (3,), torch.flatten),
    "interval with one tensor": (constraints.interval(-3.0, bound), (3,), torch.flatten),
    "half_open_interval": (constraints.half_open_interval(1.0, 2.0), (3,), torch.flatten),
    "half_open_interval with tensors": (constraints.half_open_interval(bound, 4.0), (3,), torch.flatten),
    "opened interval": (
        constraints.OpenedInterval(bound, torch.tensor([torch.inf, 0.5, torch.inf], dtype=D)),
        (3,),
        torch.flatten,
    ),
    "half-lines on either side": (
        constraints.OpenedInterval(
            torch.stack([torch.tensor(-torch.inf, dtype=D), bound[1], bound[2]]),
            torch.stack([bound[0], torch.tensor(torch.inf, dtype=D), bound[2] + 1.5]),
        ),
        (3,),
        torch.flatten,
    ),
    "greater_than": (constraints.greater_than(1.5), (3,), torch.flatten),
    "greater_than a tensor": (constraints.greater_than(bound), (3,), torch.flatten),
    "greater_than_eq": (constraints.greater_than_eq(-1.5), (3,), torch.flatten),
    "less_than": (constraints.less_than(1.5), (3,), torch.flatten),
    "less_than a tensor": (constraints.less_than(bound), (3,), torch.flatten),
    "simplex": (constraints.simplex, (4,), lambda x: x[:-1]),
    "ordered": (constraints.ordered, (4,), torch.flatten),
    "positive_ordered": (constraints.positive_ordered, (4,), torch.flatten),
    "ordered in an interval": (constraints.Ordered(constraints.interval(-2.0, 5.0)), (3,), torch.flatten),
    "lower_cholesky": (constraints.lower_cholesky, (3, 3), triangle),
    "softplus_positive": (constraints.softplus_positive, (3,), torch.flatten),
    "softplus_lower_cholesky": (constraints.softplus_lower_cholesky, (3, 3), triangle),
    "corr_matrix": (constraints.corr_matrix, (4, 4), strict_triangle),
    "zero_sum": (constraints.zero_sum, (4,), on_plane),
    "zero_sum of matrices": (constraints.zero_sum(2), (3, 4), lambda x: on_plane(on_plane(x).mT)),
    "l1_ball": (constraints.l1_ball, (4,), torch.flatten),
    "row_stochastic": (constraints.row_stochastic, (2, 3), lambda x: x[..., :-1].flatten()),
    "column_stochastic": (constraints.column_stochastic, (3, 2), lambda x: x[:-1].flatten()),
    "circular": (constraints.circular, (3,), torch.flatten),
    "positive_definite": (constraints.positive_definite, (3, 3), triangle),
    "positive_semidefinite": (constraints.positive_semidefinite, (2, 2), triangle),
    "corr_cholesky": (constraints.corr_cholesky, (4, 4), strict_triangle),
    "independent positive": (constraints.independent(constraints.positive, 1), (3,), torch.flatten),
    "independent interval": (constraints.independent(constraints.interval(bound, 9.0), 1), (3,), torch.flatten),
    "independent simplex": (constraints.independent(constraints.simplex, 1), (2, 3), lambda x: x[..., :-1].flatten()),
    "independent ordered": (constraints.independent(constraints.ordered, 1), (2, 3), torch.flatten),
}
