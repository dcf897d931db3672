"""`Family`: what our own distributions share. Each is a class with arguments, a support, `_log_density` and a sampler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.common.precision import default_dtype
from sursum.distributions.fluent import Fluent
from sursum.distributions.rebuild import floating_dtype, tensors
from sursum.distributions.shapes import broadcast_shapes
from sursum.distributions.written import KEY


class _Expanded(Distribution):
    """`expand` for distributions whose arguments, tensors or distributions, all have the batch shape."""

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        batch = torch.Size(batch_shape)
        new = object.__new__(type(self))
        for name, value in vars(self).items():
            if name == KEY:  # a copy has its own
                continue
            if isinstance(value, Distribution):
                value = value.expand(torch.Size([*batch, *value.batch_shape[len(self._batch_shape) :]]))
            elif isinstance(value, Tensor) and name in self.arg_constraints:
                value = value.expand(batch + value.shape[value.dim() - event_dims(self, name) :])
            vars(new)[name] = value
        new._batch_shape = batch
        return new


class Family(Fluent, _Expanded):
    """The base of our own families.

    A family calls `_keep` with its arguments, which become attributes of one batch shape, dtype and device. It names them in
    `arg_constraints`, and defines `support`, `_log_density`, and `rsample` or `sample`.
    """

    def _keep(self, event_shape: tuple[int, ...], validate_args: bool | None, **arguments: Any) -> None:
        """Keep the arguments, tensors, numbers or distributions, broadcast to one batch shape; None is left out."""
        given = promote({name: value for name, value in arguments.items() if value is not None})
        self._event_shape = torch.Size(event_shape)
        shapes = [_batch(value, event_dims(self, name)) for name, value in given.items()]
        batch = broadcast_shapes(*shapes)
        for name, value in given.items():
            if isinstance(value, Distribution):
                value = value if value.batch_shape == batch else value.expand(batch)
            else:
                value = value.expand(batch + value.shape[value.dim() - event_dims(self, name) :])
            setattr(self, name, value)
        super().__init__(batch, torch.Size(event_shape), validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self._log_density(as_floating(value, self))

    def _log_density(self, value: Tensor) -> Tensor:
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        """P(X ≤ value): 0 or 1 beyond the support, where the formulas of tails do not hold."""
        value, support = as_floating(value, self), cast(Any, self.support)
        inner, under, over = value, None, None
        if not support.is_discrete:
            low, high = (_end(support, name, value) for name in ("lower_bound", "upper_bound"))
            under, over = value <= low, value >= high
            between = torch.where(high.isinf(), low + 1, torch.where(low.isinf(), high - 1, low + (high - low) / 2))
            inner = torch.where(under | over, torch.where(low.isinf() & high.isinf(), 0.0, between), value)
        if self._validate_args:
            self._validate_sample(inner)
        found = self._log_tails(inner)[0].exp()
        return found if under is None else torch.where(under, 0.0, torch.where(torch.as_tensor(over), 1.0, found))

    def _log_tails(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithms of P(X ≤ value) and of P(X > value)."""
        raise NotImplementedError(f"{type(self).__name__} has no cdf")

    def _radius(self, value: Tensor) -> Tensor | None:
        """How far around a value the density is analytic, at least; None where that is not known. `narrow.py` asks."""
        return None


def _end(support: Any, name: str, like: Tensor) -> Tensor:
    """An end of a set of numbers, which may be infinite."""
    none = -torch.inf if name == "lower_bound" else torch.inf
    return torch.as_tensor(getattr(support, name, none), dtype=like.dtype, device=like.device)


def as_floating(value: Tensor, fn: Distribution) -> Tensor:
    """A value as numbers of the precision of a distribution's arguments: a formula of integers has torch's default dtype.

    Example:
        >>> as_floating(torch.tensor([1, 2]), torch.distributions.Poisson(torch.tensor(1.5, dtype=torch.float64)))
        tensor([1., 2.], dtype=torch.float64)
    """
    return value if value.is_floating_point() else value.to(floating_dtype(fn) or default_dtype())


def promote(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers, arrays and tensors as tensors of one floating dtype on one device; distributions as they are.

    Example:
        >>> {name: value.dtype for name, value in promote({"a": 1, "b": torch.tensor(2.0, dtype=torch.float64)}).items()}
        {'a': torch.float64, 'b': torch.float64}
    """
    given = [torch.as_tensor(value) for value in arguments.values() if isinstance(value, (Tensor, np.ndarray))]
    given += [next(tensors(value), torch.empty(0)) for value in arguments.values() if isinstance(value, Distribution)]
    dtype: torch.dtype | None = None
    for value in given:
        if value.is_floating_point():
            dtype = value.dtype if dtype is None else torch.promote_types(dtype, value.dtype)
    dtype = default_dtype() if dtype is None else dtype
    device = given[0].device if given else None
    return {
        name: value if isinstance(value, Distribution) else torch.as_tensor(value, dtype=dtype, device=device)
        for name, value in arguments.items()
    }


def event_dims(fn: Any, name: str) -> int:
    """How many rightmost dimensions of the argument `name` make up one value."""
    constraint = fn.arg_constraints.get(name)
    if constraint is None or constraints.is_dependent(constraint):
        return len(fn._event_shape)
    return int(constraint.event_dim)


def _batch(value: Any, events: int) -> torch.Size:
    if isinstance(value, Distribution):
        return value.batch_shape
    if value.dim() < events:
        raise ValueError(f"an argument must have at least {events} dimensions, but has shape {tuple(value.shape)}")
    return torch.Size(value.shape[: value.dim() - events])


def inside(value: Tensor, low: Tensor, high: Tensor, term: Tensor) -> Tensor:
    """`term` where low ≤ value ≤ high, and −∞ outside."""
    return torch.where((value >= low) & (value <= high), term, -torch.inf)


def uniform(like: Tensor, shape: torch.Size) -> Tensor:
    """Uniform numbers in (0, 1), of the dtype and on the device of `like`."""
    limits = torch.finfo(like.dtype)
    return torch.rand(shape, dtype=like.dtype, device=like.device).clamp(limits.tiny, 1 - limits.eps / 2)


def normal(like: Tensor, shape: torch.Size) -> Tensor:
    """Standard normal numbers, of the dtype and on the device of `like`."""
    return torch.randn(shape, dtype=like.dtype, device=like.device)
