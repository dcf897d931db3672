"""Noise as an input: random draws of a program come from a vector given by the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.common.torch_private import TorchDispatchMode, without_dispatch_modes
from sursum.compiler.capture.operators import Operator
from sursum.core.scope import current_site
from sursum.errors import CaptureError

aten = torch.ops.aten
NORMAL, UNIFORM = "normal", "uniform"

_DRAW: Mapping[str, Callable[..., Tensor]] = {NORMAL: torch.randn, UNIFORM: torch.rand}

_WIDE = torch.float64
"""Of what is compared with a probability: in fewer digits a uniform number may be 1."""

_MOVED = {aten.normal.Tensor_Tensor, aten.normal.Tensor_float, aten.normal.float_Tensor}
_STANDARD = {aten.randn.default: NORMAL, aten.rand.default: UNIFORM, aten.normal.float_float: NORMAL}
_LIKE = {aten.randn_like.default: NORMAL, aten.rand_like.default: UNIFORM}
_FILLED = {
    aten.normal_.default: NORMAL,
    aten.uniform_.default: UNIFORM,
    aten.exponential_.default: UNIFORM,
    aten.cauchy_.default: UNIFORM,
}


class Noise(TorchDispatchMode):
    """While this is active, normal and uniform draws are the elements of `source`, in the order of the requests, and Bernoulli
    and categorical ones are made of such elements.

    After a run `kinds` lists the requests: "normal" or "uniform", and how many numbers. Without a source arbitrary numbers
    are used, and only the kinds are found.

    Args:
        source: float64, (k,); standard normal and uniform numbers, in the order of `kinds` of an earlier run.

    Raises:
        CaptureError: a draw of a different kind, which is not a smooth function of such numbers.
    """

    def __init__(self, source: Tensor | None = None) -> None:
        super().__init__()
        self.kinds: list[tuple[str, int]] = []
        self._source, self._used = source, 0
        self._generator = torch.Generator().manual_seed(0)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded not in func.tags or not Operator.of(func).draws(args, kwargs):
            return func(*args, **kwargs)  # attention may use dropout, but rarely does
        if func in _MOVED:
            return self._move(*args)
        if func in _STANDARD:
            size = args[2] if func is aten.normal.float_float else args[0]
            drawn = self._next(_STANDARD[func], size, kwargs.get("dtype"))
            return drawn if func is not aten.normal.float_float else args[0] + args[1] * drawn
        if func in _LIKE:
            return self._next(_LIKE[func], args[0].shape, kwargs.get("dtype") or args[0].dtype)
        if func in _FILLED:
            target, given = args[0], {**dict(zip(_parameters(func), args[1:], strict=False)), **kwargs}
            drawn = self._next(_FILLED[func], target.shape, target.dtype)
            return target.copy_(_shape(func, drawn, given))
        if func is aten.bernoulli.default:
            return aten._to_copy.default(
                aten.lt.Tensor(self._next(UNIFORM, args[0].shape, _WIDE), args[0]), dtype=args[0].dtype
            )
        if func is aten.multinomial.default and (args[1] == 1 or args[2:3] == (True,)):
            return self._choose(args[0], args[1])
        site = current_site()
        raise CaptureError(
            f"the draw by {func.name()}{'' if site is None else f' at site {site}'} is not a smooth function of normal or "
            "uniform numbers, so it cannot be an input of a compiled loss."
        )

    def _move(self, mean: Any, sd: Any) -> Tensor:
        like = mean if isinstance(mean, Tensor) else sd
        shape = torch.broadcast_shapes(*(part.shape for part in (mean, sd) if isinstance(part, Tensor)))
        drawn = self._next(NORMAL, shape, like.dtype)
        if not _everywhere(sd, 1.0):
            drawn = drawn * sd
        return drawn if _everywhere(mean, 0.0) else drawn + mean

    def _choose(self, weights: Tensor, count: int) -> Tensor:
        """Indices in proportion to the weights of each row: the first whose weights up to it are more than a part of all."""
        weights = aten._to_copy.default(weights, dtype=_WIDE)
        sums = aten.cumsum.default(weights, -1)
        last = sums.shape[-1] - 1
        uniform = self._next(UNIFORM, (*weights.shape[:-1], count), _WIDE)
        parts = aten.mul.Tensor(uniform, aten.slice.Tensor(sums, -1, last, last + 1))
        passed = aten.ge.Tensor(
            aten.unsqueeze.default(parts, -1), aten.unsqueeze.default(aten.slice.Tensor(sums, -1, 0, last), -2)
        )
        found: Tensor = aten.sum.dim_IntList(passed, [-1])
        return found

    def _next(self, kind: str, shape: Any, dtype: torch.dtype | None) -> Tensor:
        shape = torch.Size(shape)
        count, dtype = shape.numel(), dtype or torch.get_default_dtype()
        self.kinds.append((kind, count))
        if self._source is None:
            return _DRAW[kind](shape, dtype=dtype, generator=self._generator)
        start, self._used = self._used, self._used + count
        if self._used > len(self._source):
            raise CaptureError(
                f"the program draws more numbers than in its first run, where there were {len(self._source)}: what it draws "
                "depends on the values, and cannot be an input of a compiled loss."
            )
        # Composite operators would reach a recorder undecomposed from in here, so these are the basic ones.
        part = aten.view.default(aten.slice.Tensor(self._source, 0, start, self._used), shape)
        taken: Tensor = part if part.dtype is dtype else aten._to_copy.default(part, dtype=dtype)
        return taken


def _everywhere(part: Any, value: float) -> bool:
    """Whether a number or a constant tensor equals `value` everywhere; checked outside any recording."""
    if not isinstance(part, Tensor):
        return bool(part == value)
    if part.requires_grad or part.grad_fn is not None:
        return False
    with without_dispatch_modes():
        return bool((part == value).all())


def _parameters(func: Any) -> list[str]:
    return [argument.name for argument in func._schema.arguments[1:]]


def _shape(func: Any, drawn: Tensor, given: Mapping[str, Any]) -> Tensor:
    """Convert standard draws to those of the distribution with which an operator fills a tensor."""
    filled: Tensor
    if func is aten.normal_.default:
        filled = given.get("mean", 0.0) + given.get("std", 1.0) * drawn
    elif func is aten.uniform_.default:
        low, high = given.get("from", 0.0), given.get("to", 1.0)
        filled = low + (high - low) * drawn
    elif func is aten.exponential_.default:
        filled = -torch.log1p(-drawn) / given.get("lambd", 1.0)
    else:
        filled = given.get("median", 0.0) + given.get("sigma", 1.0) * torch.tan(torch.pi * (drawn - 0.5))
    return filled


def block(kinds: Sequence[tuple[str, int]], rows: int, seed: int) -> Tensor:
    """`rows` rows of such numbers, float64, from a generator of this seed: NumPy's, which draws twice as fast as torch's."""
    generator = np.random.Generator(np.random.SFC64(seed))
    if all(kind == NORMAL for kind, _ in kinds):
        return torch.from_numpy(generator.standard_normal((rows, sum(count for _, count in kinds))))
    parts = [
        generator.standard_normal((rows, count)) if kind == NORMAL else generator.random((rows, count)) for kind, count in kinds
    ]
    return torch.from_numpy(np.concatenate(parts, axis=1))
