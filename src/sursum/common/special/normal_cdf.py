r"""The logarithm of the normal distribution function, and what its derivatives are made of, accurate far out on both sides.

.. math:: λ(x) = φ(x) / Φ(x), \qquad (\log Φ)' = λ, \qquad λ' = -λ\,(x + λ), \qquad (x + λ)' = 1 - λ\,(x + λ)

On the left λ is nearly −x, and what is left of x + λ and of its derivative has no digits where it is computed as a difference.
There all come from Laplace's continued fraction, whose terms are positive:

.. math:: λ(-t) = t + \cfrac{1}{t + \cfrac{2}{t + \cfrac{3}{t + \cdots}}}

References: DLMF 7.9, 7.18; Gautschi, "Efficient computation of the complex error function" (1970).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from sursum.common.special.special_operator import TensorOperator

_ROOT_HALF, _ROOT_2_BY_PI = math.sqrt(0.5), math.sqrt(2 / math.pi)
#: To the left of the first the continued fraction has all its digits after this many terms.
_FAR, _TERMS = -4.0, 33


class MillsWhich(IntEnum):
    """What is computed: λ(x); x + λ(x); or 1 − λ(x)(x + λ(x)), the variance of a normal number that is known to be below x."""

    RATIO = 0
    EXCESS = 1
    VARIANCE = 2


def _compute(args: tuple[Tensor, ...], which: int) -> Tensor:
    """In torch; the C of `compiler/native` computes it alike."""
    (x,) = args
    far = x < _FAR
    near = _ROOT_2_BY_PI / torch.special.erfcx(-_ROOT_HALF * torch.where(far, 0.0, x))
    t = torch.where(far, -x, -_FAR)
    # Divided by t, so that nothing overflows: e[k] = 1 + k w / e[k + 1].
    w = 1 / t / t
    e = [0.5 + 0.5 * torch.sqrt(1 + 4 * (_TERMS + 1) * w)]
    for k in range(_TERMS, 0, -1):
        e.append(1 + k * w / e[-1])
    if which == MillsWhich.RATIO:
        return torch.where(far, t * e[-1], near)
    if which == MillsWhich.EXCESS:
        return torch.where(far, 1 / (t * e[-2]), x + near)
    tail = w * (1 + 4 * w - (3 * w / e[-4]).square()) / (e[-3] * e[-2]).square()
    return torch.where(far, tail, 1 - near * (x.clamp(max=100.0) + near))


#: `sursum::inverse_mills(x, which)`.
INVERSE_MILLS = TensorOperator("inverse_mills", 1, _compute, {})


class _Mills(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(which: int, x: Tensor) -> Tensor:
        """The value."""
        found: Tensor = INVERSE_MILLS.operator(x, which)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[int, Tensor], output: Tensor) -> None:
        """Keeps the argument."""
        ctx.which = inputs[0]
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[None, Tensor]:
        """Products of the three, so that there are derivatives of any order."""
        (x,) = ctx.saved_tensors
        if ctx.which == MillsWhich.EXCESS:
            return None, slopes[0] * _mills(MillsWhich.VARIANCE, x)
        ratio, excess = _mills(MillsWhich.RATIO, x), _mills(MillsWhich.EXCESS, x)
        if ctx.which == MillsWhich.RATIO:
            return None, slopes[0] * -(ratio * excess)
        return None, slopes[0] * ratio * (excess.square() - _mills(MillsWhich.VARIANCE, x))


def _mills(which: MillsWhich, x: Tensor) -> Tensor:
    found: Tensor = _Mills.apply(which, x)
    return found


def inverse_mills(x: Tensor) -> Tensor:
    """λ(x) = φ(x) / Φ(x), in the dtype of x; its logarithm and their derivatives have all digits for x ≤ 0.

    Example:
        >>> inverse_mills(torch.tensor([-1e8, 0.0], dtype=torch.float64))
        tensor([1.0000e+08, 7.9788e-01], dtype=torch.float64)
    """
    return _mills(MillsWhich.RATIO, x.to(torch.float64)).to(x.dtype)


class _Elementwise(torch.autograd.Function):
    """A function of torch's of one tensor, with a derivative of our own: `back`, of the slope above and of the tensor."""

    @staticmethod
    def forward(value: Callable[[Tensor], Tensor], back: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
        """The value."""
        return value(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, Callable[[Tensor, Tensor], Tensor], Tensor], output: Tensor) -> None:
        """Keeps the argument."""
        ctx.back = inputs[1]
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], value: Any, back: Any, x: Tensor) -> tuple[Tensor, int | None]:
        """It is elementwise; torch itself has no rule, and warns."""
        return _Elementwise.apply(value, back, x), in_dims[2]

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[None, None, Tensor]:
        """By functions that have derivatives themselves."""
        (x,) = ctx.saved_tensors
        return None, None, ctx.back(slopes[0], x)


def _back_from_log_ndtr(slope: Tensor, x: Tensor) -> Tensor:
    """λ(x), times a slope."""
    return slope * inverse_mills(x)


def _back_from_scaled_erfc(slope: Tensor, x: Tensor) -> Tensor:
    """2 x erfcx(x) − 2/√π, times a slope: a product of three, whose last two may be too small for a double together."""
    below = -math.sqrt(2.0) * x.to(torch.float64)
    return slope * scaled_erfc(x) * (-math.sqrt(2.0) * _mills(MillsWhich.EXCESS, below)).to(x.dtype)


def log_ndtr(x: Tensor) -> Tensor:
    """torch's log Φ(x), with derivatives that keep their digits.

    Example:
        >>> x = torch.tensor(-1e8, dtype=torch.float64, requires_grad=True)
        >>> torch.autograd.grad(log_ndtr(x), x)[0]
        tensor(100000000., dtype=torch.float64)
    """
    found: Tensor = _Elementwise.apply(torch.special.log_ndtr, _back_from_log_ndtr, x)
    return found


def scaled_erfc(x: Tensor) -> Tensor:
    """torch's erfcx(x), with derivatives that keep their digits.

    Example:
        >>> x = torch.tensor(1e8, dtype=torch.float64, requires_grad=True)
        >>> torch.autograd.grad(scaled_erfc(x), x)[0]
        tensor(-5.6419e-17, dtype=torch.float64)
    """
    found: Tensor = _Elementwise.apply(torch.special.erfcx, _back_from_scaled_erfc, x)
    return found


#: torch's functions, and those here that take their places in double precision.
NORMAL_CDF: Mapping[Any, Callable[..., Tensor]] = {torch.special.log_ndtr: log_ndtr, torch.special.erfcx: scaled_erfc}
