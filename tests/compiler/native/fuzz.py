"""Random programs of lowered operators: a list of numbers, read as steps, is a program, so that every list is one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

D = torch.float64
#: What a step does: to one or two earlier values, and a number to choose details by.
Step = Callable[[Tensor, Tensor, int], Tensor]
#: operator, first operand, second operand, details
Code = tuple[int, int, int, int]
#: Sizes of dimensions, by a number.
DIMS = (1, 3, 2, 0, 4, 1, 5)
#: So many unknowns has a program; its first two values are made of them.
UNKNOWNS = 24


def shape(number: int) -> tuple[int, ...]:
    """One of the shapes with at most 12 elements."""
    rank, rest = number % 4, number // 4
    size: list[int] = []
    for _ in range(rank):
        size.append(DIMS[rest % len(DIMS)])
        rest //= len(DIMS)
    while torch.Size(size).numel() > 12:
        size.pop()
    return tuple(size)


def axis(x: Tensor, p: int) -> int:
    """A dimension of x."""
    return p % x.ndim - (x.ndim if p % 5 == 0 else 0)


def index(count: int, p: int, length: int = 5) -> Tensor:
    """Places in 0 … count − 1, some of them twice."""
    return torch.tensor([(p + 3 * k * k) % count for k in range(length)])


def mask(x: Tensor, p: int) -> Tensor:
    """A constant mask of the shape of x."""
    return (torch.arange(x.numel()) * 7 + p).reshape(x.shape) % 3 == 0


def changed(x: Tensor, change: Callable[[Tensor], object]) -> Tensor:
    """x after a change in place of a copy."""
    copy = x.clone()
    change(copy)
    return copy


def definite(x: Tensor) -> Tensor:
    """A positive definite matrix of the squares of a square matrix."""
    x = x.clamp(-3, 3).nan_to_num()
    return x @ x.mT + 2.0 * torch.eye(x.shape[-2], dtype=D)


def weights(x: Tensor) -> Tensor:
    """Fixed numbers of the shape of x."""
    return torch.linspace(-1.0, 2.0, max(x.numel(), 1), dtype=D)[: x.numel()].reshape(x.shape)


def group_sum(x: Tensor, y: Tensor, p: int) -> Tensor:
    """Rows added up by group."""
    return x.index_add(0, index(x.shape[0], p, y.shape[0]), y.expand(y.shape[0], *x.shape[1:]))


def cut(x: Tensor, p: int) -> Tensor:
    """A slice with a step."""
    d = axis(x, p)
    n = x.shape[d]
    return x.movedim(d, 0)[p % (n + 1) : n - p // 3 % 2 : 1 + p % 3].movedim(0, d)


POINTWISE: tuple[Step, ...] = (
    lambda x, y, p: x + y,
    lambda x, y, p: x - y * 2,
    lambda x, y, p: x * y,
    lambda x, y, p: x / y,
    lambda x, y, p: torch.where(x > y, x, y * 0.5),
    lambda x, y, p: torch.maximum(x, y),
    lambda x, y, p: torch.minimum(x, y),
    lambda x, y, p: x.exp(),
    lambda x, y, p: x.abs().log(),
    lambda x, y, p: x.abs().sqrt(),
    lambda x, y, p: x ** (2, 3, -1, 0.5, -2, 1.5)[p % 6],
    lambda x, y, p: x.tanh(),
    lambda x, y, p: x.sigmoid(),
    lambda x, y, p: F.softplus(x),
    lambda x, y, p: (F.relu, F.gelu, F.silu, F.elu, F.leaky_relu, F.hardtanh, F.mish, F.logsigmoid)[p % 8](x),
    lambda x, y, p: (torch.sin, torch.cos, torch.atan, torch.erf, torch.expm1, torch.log1p, torch.rsqrt)[p % 7](x),
    lambda x, y, p: x.abs().clamp(0.1, 50).lgamma(),
    lambda x, y, p: x.abs().clamp(0.1, 50).digamma(),
    lambda x, y, p: torch.xlogy(x, y.abs()),
    lambda x, y, p: torch.logaddexp(x, y),
    lambda x, y, p: x.clamp(-1.5, 0.5 + p % 3),
    lambda x, y, p: x.masked_fill(mask(x, p), 0.5 * p),
    lambda x, y, p: torch.lerp(x, y, 0.25),
    lambda x, y, p: torch.addcmul(x, y, y, value=0.5),
    lambda x, y, p: x.neg().reciprocal(),
    lambda x, y, p: torch.hypot(x, y),
    lambda x, y, p: torch.atan2(x, y.abs()),  # on its cut the sign of a zero would decide
    lambda x, y, p: (torch.floor, torch.sign, torch.round, torch.trunc)[p % 4](x) * y,
    lambda x, y, p: x * (y > 0),
    lambda x, y, p: torch.i0(x.clamp(-9, 9)),
)
REDUCTIONS: tuple[Step, ...] = (
    lambda x, y, p: x.sum(),
    lambda x, y, p: x.sum(axis(x, p), keepdim=p % 2 == 0),
    lambda x, y, p: (x * y).sum((0, -1)),
    lambda x, y, p: x.mean(axis(x, p), keepdim=p % 2 == 0),
    lambda x, y, p: x.prod(axis(x, p)),
    lambda x, y, p: x.amax(axis(x, p), keepdim=p % 2 == 0),
    lambda x, y, p: x.amin(axis(x, p)),
    lambda x, y, p: x.max(axis(x, p))[0],
    lambda x, y, p: x.logsumexp(axis(x, p), keepdim=p % 2 == 0),
    lambda x, y, p: x.softmax(axis(x, p)),
    lambda x, y, p: x.log_softmax(axis(x, p)),
    lambda x, y, p: x.cumsum(axis(x, p)),
    lambda x, y, p: x.cumprod(axis(x, p)),
    lambda x, y, p: x.logcumsumexp(axis(x, p)),
    lambda x, y, p: x.cummax(axis(x, p))[0],
    lambda x, y, p: x.var(axis(x, p), correction=p % 2),
    lambda x, y, p: torch.linalg.vector_norm(x, (2, 1, 3)[p % 3], dim=axis(x, p)),
    lambda x, y, p: (x > y).sum(-1) * x.sum(-1),
    lambda x, y, p: F.layer_norm(x, x.shape[-1:], weights(x)[(0,) * (x.ndim - 1)]),
    lambda x, y, p: x.sort(axis(x, p), descending=p % 2 == 0)[0],
)
STRUCTURE: tuple[Step, ...] = (
    lambda x, y, p: x.mT,
    lambda x, y, p: x.movedim(0, -1),
    lambda x, y, p: x.reshape(-1),
    lambda x, y, p: x.reshape(x.numel() // 2, 2),
    lambda x, y, p: x.unsqueeze(p % (x.ndim + 1)),
    lambda x, y, p: x.squeeze(),
    lambda x, y, p: x.expand(2, *x.shape),
    lambda x, y, p: cut(x, p),
    lambda x, y, p: x.select(axis(x, p), -1),
    lambda x, y, p: x.flip(axis(x, p)),
    lambda x, y, p: x.roll(p, axis(x, p)),
    lambda x, y, p: torch.cat([x, y], axis(x, p)),
    lambda x, y, p: torch.stack([x, x * y, x]),
    lambda x, y, p: torch.cat([x.reshape(-1), y.reshape(-1)]),
    lambda x, y, p: F.pad(x, (1, p % 3 - 1), value=0.5),
    lambda x, y, p: x.tril(p % 3 - 1),
    lambda x, y, p: x.triu(p % 3 - 1),
    lambda x, y, p: x.diagonal(p % 2, -2, -1),
    lambda x, y, p: torch.diag_embed(x, p % 2),
    lambda x, y, p: x.repeat(*[2] * x.ndim) if x.numel() < 7 else x,
    lambda x, y, p: x.index_select(axis(x, p), index(x.shape[axis(x, p)], p)),
    lambda x, y, p: x[index(x.shape[0], p)],
    lambda x, y, p: x[..., index(x.shape[-1], p)],
    lambda x, y, p: x[mask(x, p)],
    lambda x, y, p: x.gather(axis(x, p), index(x.shape[axis(x, p)], p, x.numel()).reshape(x.shape)),
    lambda x, y, p: x.scatter_add(axis(x, p), index(x.shape[axis(x, p)], p, x.numel()).reshape(x.shape), x * 2),
    group_sum,
    lambda x, y, p: x.index_put((index(x.shape[0], p),), y, accumulate=True),
    lambda x, y, p: changed(x, lambda c: c.mul_(y)),
    lambda x, y, p: changed(x, lambda c: c[..., p % 2 :].copy_(y)),
    lambda x, y, p: changed(x, lambda c: c.__setitem__(0, y)),
    lambda x, y, p: changed(x, lambda c: c.select(-1, 0).add_(y)),
    lambda x, y, p: changed(x, lambda c: c.masked_fill_(mask(x, p), 2.0)),
)
ALGEBRA: tuple[Step, ...] = (
    lambda x, y, p: x @ y,
    lambda x, y, p: x @ y.mT,
    lambda x, y, p: x.mT @ y,
    lambda x, y, p: torch.outer(x.reshape(-1)[:4], y.reshape(-1)[:3]),
    lambda x, y, p: torch.addmm(x, y, y.mT),
    lambda x, y, p: torch.linalg.cholesky(definite(x @ x.mT)),
    lambda x, y, p: torch.linalg.solve_triangular(torch.linalg.cholesky(definite(x)), y, upper=False),
    lambda x, y, p: torch.linalg.slogdet(definite(x))[1],
    lambda x, y, p: torch.linalg.solve(definite(x), y),
    lambda x, y, p: torch.linalg.inv(definite(x)),
    lambda x, y, p: torch.einsum("i...,i...->...", x, y),
    lambda x, y, p: F.conv1d(x.reshape(1, 1, -1), y.reshape(1, 1, -1)[..., :2], padding=p % 2, stride=1 + p % 2),
)
STEPS = (*POINTWISE, *REDUCTIONS, *STRUCTURE, *ALGEBRA)


@dataclass(frozen=True)
class Program:
    """The steps that make sense for the shapes that they meet, of those that a list of numbers stands for."""

    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    steps: tuple[Code, ...]

    @classmethod
    def of(cls, first: int, second: int, codes: Sequence[Code]) -> Program:
        """The program of a list of numbers: steps that torch refuses, or that grow, are left out."""
        shapes = shape(first), shape(second)
        kept: list[Code] = []
        values = inputs(torch.linspace(0.1, 2.3, UNKNOWNS, dtype=D), shapes)
        for code in codes:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of a variance of one number
                    made = step(code, values)
            except (RuntimeError, IndexError, ValueError, TypeError, ZeroDivisionError):
                continue
            if made.numel() <= 60 and made.ndim <= 4 and made.is_floating_point():
                kept.append(code)
                values.append(made)
        return cls(shapes, tuple(kept))

    def run(self, q: Tensor) -> Tensor:
        """The sum of the last values, each with weights of its own."""
        values = inputs(q, self.shapes)
        for code in self.steps:
            values.append(step(code, values))
        total = q.new_zeros(())
        for value in values[-3:]:
            total = total + (value * weights(value)).sum()
        return total

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """The result and its gradient, for a capture that records both."""
        with torch.enable_grad():
            leaf = q.detach().requires_grad_()
            value = self.run(leaf)
            if not value.requires_grad:
                return value, torch.zeros_like(q)
            (slope,) = torch.autograd.grad(value, leaf, allow_unused=True, materialize_grads=True)
        return value.detach(), slope


def inputs(q: Tensor, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> list[Tensor]:
    """The first two values of a program."""
    a, b = (torch.Size(size).numel() for size in shapes)
    return [q[:a].reshape(shapes[0]), q[UNKNOWNS - b :].reshape(shapes[1])]


def step(code: Code, values: Sequence[Tensor]) -> Tensor:
    """One step, of the values so far: later ones are more likely operands."""
    operator, a, b, p = code
    return STEPS[operator % len(STEPS)](values[-1 - a % len(values)], values[-1 - b % len(values)], p)
