"""Operators of a step that give more than torch's do: what the loop backwards would compute once more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sursum.compiler.scan.recurrence import Step

aten = torch.ops.aten


def expanded(step: Step) -> Step:
    """`step` with the weights of each logsumexp as a further value, which may be kept."""
    free = 1 + max(slot for call in step.calls for slot in (*call.reads(), *call.outputs) if slot is not None)
    calls = []
    for call in step.calls:
        if call.function is aten.logsumexp.default:
            call, free = replace(call, function=log_sum_exp, outputs=(*call.outputs, free)), free + 1
        calls.append(call)
    return replace(step, calls=tuple(calls))


def log_sum_exp(x: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> tuple[Tensor, Tensor]:
    r"""The logarithm of :math:`\sum_i \exp x_i` along dimensions, and its derivatives, the weights
    :math:`\exp x_i / \sum_j \exp x_j`.

    Torch's own gradient computes the exponentials a second time.

    Example:
        >>> total, weights = log_sum_exp(torch.tensor([1.0, 3.0]).log(), 0)
        >>> [round(number, 4) for number in (total.exp().item(), *weights.tolist())]
        [4.0, 0.25, 0.75]
    """
    found: tuple[Tensor, Tensor] = _LogSumExp.apply(x, [dim] if isinstance(dim, int) else list(dim), keepdim)
    return found


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dims: list[int], keepdim: bool) -> tuple[Tensor, Tensor]:
        largest = x.amax(dims, True)
        start = largest.masked_fill(largest.abs() == math.inf, 0.0)
        powers = (x - start).exp()
        total = powers.sum(dims, True)
        weights = powers * total.reciprocal()
        result = total.log() + start
        ctx.dims = [] if keepdim else sorted(dim % x.dim() for dim in dims) if x.dim() else []
        ctx.save_for_backward(weights)
        ctx.mark_non_differentiable(weights)
        return (result if keepdim else result.squeeze(dims)), weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        (weights,) = ctx.saved_tensors
        for dim in ctx.dims:
            slope = slope.unsqueeze(dim)
        return slope * weights, None, None
