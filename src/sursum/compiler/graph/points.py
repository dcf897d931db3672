"""A small graph at several points at once: where Python takes longer than the operators, in the time of one or two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sursum.common.vmap import vmap
from sursum.compiler.graph.graph import Graph, is_inner, operators_of
from sursum.compiler.graph.interpreter import Interpreter

aten = torch.ops.aten

#: All values at all points together are at most so many numbers: more take longer than Python does.
_MOST = 1 << 18


def _log_sigmoid_backward(grad: Tensor, x: Tensor, buffer: Tensor) -> Tensor:
    """torch's, for a `grad` that is one number for all points: vmap would resize it, and say so."""
    return aten.log_sigmoid_backward.default(grad * torch.ones_like(x), x, buffer)  # type: ignore[no-any-return]


def _mish_backward(grad: Tensor, x: Tensor) -> Tensor:
    """torch's, which vmap has no rule for: it would loop over points, and say so."""
    bent = torch.nn.functional.softplus(x).tanh()
    return grad * (bent + x * x.sigmoid() * (1 - bent * bent))


#: What vmap takes of all points together, or speaks about on the terminal, by id, and the same of each.
_OF_ONE: Mapping[int, Any] = {
    id(aten._is_all_true.default): aten.all.default,
    id(aten._is_any_true.default): aten.any.default,
    id(aten.log_sigmoid_backward.default): _log_sigmoid_backward,
    id(aten.mish_backward.default): _mish_backward,
}


def at_points(
    graph: Graph, points: Sequence[Tensor], interpreter: Interpreter | None = None
) -> list[tuple[Tensor, ...] | None]:
    """The outputs at each of the points; None where a check fails, or where they are better computed one by one.

    A function of many numbers at once may round otherwise than that of a single one.

    Args:
        graph: with its guards.
        points: float64 of shape (n,) each.
        interpreter: that of the graph, if there is one.

    Example:
        >>> from sursum.compiler.capture.capture import capture
        >>> points = torch.ones(2).double(), torch.zeros(2).double()
        >>> graph = capture(lambda q: (q.exp().sum(),), points, gradient=False)
        >>> [float(output) for output, in at_points(graph, [torch.zeros(2).double(), torch.ones(2).double()])]
        [2.0, 5.43656365691809]
    """
    if len(points) < 2 or not _is_small(graph, len(points)):
        return [None] * len(points)
    interpreter, count = interpreter or Interpreter(graph, guards=True), len(graph.outputs)
    try:
        with torch.no_grad():
            found = vmap(partial(interpreter.mapped, instead=_OF_ONE))(torch.stack(list(points)))
    except Exception:  # an operator that cannot be mapped, or that fails at one of the points
        return [None] * len(points)
    holds = torch.stack([torch.ones(len(points), dtype=torch.bool), *found[count:]]).all(0)
    rows = zip(*(column.unbind() for column in found[:count]), strict=True)
    return [tuple([part.clone() for part in row]) if held else None for row, held in zip(rows, holds.tolist(), strict=True)]


def _is_small(graph: Graph, count: int) -> bool:
    """Whether the operators are torch's own, write to nothing, and work on few numbers."""
    numbers = sum([value.numel for value in graph.values.values()])
    if numbers * count > _MOST or any(node.writes for node in graph.nodes):
        return False
    return not any(is_inner(op) or op.namespace != "aten" for op in operators_of(graph.nodes))
