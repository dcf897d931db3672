"""One step of Dormand and Prince's pair of orders 5 and 4, and the size of the next one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

#: The stages: where they are in the step, and the weights of the slopes before them. The last stage is the step itself.
_NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0)
_WEIGHTS = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
)
_STEP = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)
#: The step of fifth order less that of fourth.
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)

#: Sizes are powers of 2^(1/8). The offset keeps them from being sums of round numbers, where rounding would decide.
_OFFSET = 0.37
_SAFETY, _GROWTH = 8 * math.log2(0.9), 18.0
#: A step that ends at most this much before a time is stretched to end there.
_STRETCH = 1.05

Slope = Callable[[Tensor, Tensor], Tensor]


def advance(f: Slope, time: Tensor, value: Tensor, h: Tensor, first: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The value after a step of size h, and the slopes of its first six stages."""
    slopes = [first]
    for node, weights in zip(_NODES, _WEIGHTS, strict=True):
        slopes.append(f(time + node * h, torch.addcmul(value, h, _combine(weights, slopes))))
    return torch.addcmul(value, h, _combine(_STEP, slopes)), slopes


class IntegratorState(NamedTuple):
    """Where a solution is: its time, value and slope, the exponent of the next size, and how many times it has passed."""

    time: Tensor
    value: Tensor
    slope: Tensor
    exponent: Tensor
    passed: Tensor


class Control(NamedTuple):
    """The choice of steps: along `sign`, with an end at each of the times.

    A size depends on the solution through a whole number. So the solution is a function of the parameters whose derivative is
    that of the steps with their sizes as constants, exactly, but for the points where a size changes.
    """

    f: Slope
    times: Tensor
    sign: float
    rtol: float
    atol: float

    def start(self, value: Tensor, slope: Tensor) -> IntegratorState:
        """Before the first step, whose size is a hundredth of the time in which the solution would change by its own size."""
        scale = self.atol + self.rtol * value.abs()
        own, change = _root_mean_square(value / scale), _root_mean_square(slope / scale)
        seconds = torch.where((own > 1e-5) & (change > 1e-5), 0.01 * own / change, 1e-6)
        exponent = (8 * torch.log2(seconds)).clamp(-400.0, 400.0).floor().to(torch.int64)
        return IntegratorState(self.times[0], value, slope, exponent, torch.ones_like(exponent))

    def step(self, state: IntegratorState) -> tuple[IntegratorState, Tensor]:
        """The state after a try, and the size of the step: 0 where it is not taken, or where all times are passed."""
        time, value, slope, exponent, passed = state
        over = passed >= len(self.times)
        end = self.times.index_select(0, passed.clamp(max=len(self.times) - 1).reshape(1)).squeeze(0)
        left = self.sign * (end - time)
        size = torch.exp2((exponent + _OFFSET) / 8)
        cut = size * _STRETCH >= left
        size = torch.where(cut, left, size)
        h = torch.where(over, 0.0, self.sign * size)
        after, slopes = advance(self.f, time, value, h, slope)
        last = self.f(time + h, after)
        gap = h * _combine(_ERROR, [*slopes, last])
        error = _root_mean_square(gap / (self.atol + self.rtol * torch.maximum(value.abs(), after.abs())))
        taken = (error <= 1) & torch.isfinite(last).all() & ~over
        factor = (_SAFETY - 1.6 * torch.log2(error + 1e-30)).clamp(-_GROWTH, _GROWTH)
        factor = torch.where(torch.isfinite(error) & torch.isfinite(last).all(), factor, -_GROWTH)
        grown = exponent + factor.floor().to(torch.int64)
        # A step that was cut says nothing against the size that it would have had.
        own = (8 * torch.log2(torch.where(over, 1.0, size)) + _OFFSET).floor().to(torch.int64) + factor.floor().to(torch.int64)
        own = torch.where(taken, torch.maximum(own, exponent), own)
        there = taken & cut
        moved = IntegratorState(
            torch.where(there, end, torch.where(taken, time + h, time)),
            torch.where(taken, after, value),
            torch.where(taken, last, slope),
            torch.where(over, exponent, torch.where(cut, own, grown)).clamp(-400, 400),
            passed + there.to(torch.int64),
        )
        return moved, torch.where(taken, h, 0.0)


def _combine(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    total = weights[0] * slopes[0]
    for w, slope in zip(weights[1:], slopes[1:], strict=True):
        if w:
            total = torch.add(total, slope, alpha=w)
    return total


def _root_mean_square(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()
