"""Operators of a step that also return intermediate results, which the backward loop would otherwise recompute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sursum.compiler.graph.graph import Node, refs_of
from sursum.compiler.scan.recurrence import LoopStep

aten = torch.ops.aten


def expand_step(step: LoopStep) -> LoopStep:
    """`step` with the weights of each logsumexp as a further value, which may be kept."""
    free = 1 + max(ref.value for node in step.nodes for ref in (*refs_of(node), *node.outputs) if ref is not None)
    nodes: list[Node] = []
    for node in step.nodes:
        if node.op is aten.logsumexp.default:
            weights = replace(refs_of(node)[0], value=free)
            node, free = replace(node, op=log_sum_exp, outputs=(*node.outputs, weights)), free + 1  # type: ignore[arg-type]
        nodes.append(node)
    return replace(step, nodes=tuple(nodes))


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
