"""The graph that is run: in double precision, with nothing in it that need not be computed for every q."""

from __future__ import annotations

from dataclasses import replace

from sursum.compiler.graph.constant_folding import fold
from sursum.compiler.graph.copy_elimination import without_copies
from sursum.compiler.graph.graph import Graph, is_inner
from sursum.compiler.graph.guard_elimination import without_proved_guards
from sursum.compiler.graph.index_guards import with_checked_indices
from sursum.compiler.graph.prune import merge, prune
from sursum.compiler.graph.retype import retype


def double(graph: Graph) -> Graph:
    """`graph` in float64, folded and pruned.

    Every float becomes float64, constants (exactly) and dtype arguments included; only then are the values that do not
    depend on q computed, so that a program in float32 loses no digits to folding. Copies, equal nodes, guards that
    are proved to hold and nodes that nothing needs go.

    Raises:
        CaptureError: a check on data alone fails in double precision.

    Example:
        >>> import torch
        >>> from sursum.compiler.capture.capture import capture
        >>> points = torch.ones(1).double(), torch.zeros(1).double()
        >>> third = torch.tensor(3.0)
        >>> graph = capture(lambda q: (q.sum().to(torch.float32) * (1 / third).log(),), points, gradient=False)
        >>> [node.op.__name__ for node in double(graph).nodes]
        ['sum.default', 'mul.Tensor']
    """
    graph = _wide(graph)
    return prune(without_proved_guards(with_checked_indices(graph)))


def _wide(graph: Graph) -> Graph:
    return merge(fold(without_copies(prune(retype(_inner(graph))))))


def _inner(graph: Graph) -> Graph:
    """`graph` with the graphs inside its operators in double precision."""
    if not any(is_inner(node.op) for node in graph.nodes):
        return graph
    nodes = [replace(n, op=n.op.with_graph(_wide(n.op.graph))) if is_inner(n.op) else n for n in graph.nodes]
    return replace(graph, nodes=tuple(nodes))
