"""Warn about long Python loops, which a capture unrolls step by step."""

from __future__ import annotations

import warnings
from collections import Counter

from sursum.compiler.graph.graph import Graph
from sursum.errors import EngineWarning

#: Number of operators from one line that counts as a long loop.
MANY = 10_000


def note_long_loops(graph: Graph) -> None:
    """Warn if one line of the program has been captured many times.

    Warns:
        EngineWarning: it was; `scan` would keep the loop a loop.
    """
    lines = Counter(node.where.line for node in graph.nodes if node.where.line is not None)
    for line, count in lines.most_common(1):
        if count >= MANY:
            warnings.warn(
                f"{count} of the {len(graph.nodes)} operators of this density come from one line, {line}: a Python loop, which "
                "is captured and compiled step by step. Write it with su.scan, which captures one step for all, or, where "
                "the steps are independent, with a plate or with tensors.",
                EngineWarning,
                stacklevel=4,
            )
