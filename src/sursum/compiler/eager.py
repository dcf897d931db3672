"""The eager engine: the program itself, handlers and all, run by Python at every point."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor

from sursum.common.precision import enforce_double
from sursum.compiler.capture.derivatives import ExactDerivatives
from sursum.density.log_density import LogDensity


def gradient_of(density: LogDensity) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The log density of the program itself, and its gradient by autograd."""

    def run(q: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad(), enforce_double(ExactDerivatives()):
            q = q.clone().requires_grad_()
            value = density(q)
            if not value.requires_grad:
                return value.double(), torch.zeros_like(q)
            (gradient,) = torch.autograd.grad(value, q, allow_unused=True, materialize_grads=True)
            return value.detach().double(), gradient.double()

    return run


def value_of(density: LogDensity) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The log density of the program itself, without gradient."""

    def run(q: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            return density(q.clone().requires_grad_()).detach().double(), q.new_empty(0)

    return run


def run_eagerly(density: LogDensity) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """The program itself as an engine."""
    program = gradient_of(density)

    def run(q: Tensor) -> tuple[Tensor, Tensor]:
        with contextlib.suppress(ValueError, torch.linalg.LinAlgError):
            return program(q)
        return torch.tensor(-torch.inf, dtype=torch.float64), torch.zeros_like(q)

    return run


def stack_rows(rows: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    columns = [torch.stack(column).detach() for column in zip(*rows, strict=True)]
    return tuple(column.double() if column.is_floating_point() else column for column in columns)
