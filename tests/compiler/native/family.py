"""A family of operators in one library."""

from __future__ import annotations

from pathlib import Path

from tests.compiler.native.operators import Case
from tests.compiler.native.reference import by_torch, graph_of, rows_of, tried

from sursum.compiler.native.build import build
from sursum.compiler.native.library.library import NativeFunction


class Family:
    """All programs of a family in one library, and what torch makes of them."""

    def __init__(self, family: dict[str, list[Case]], directory: Path) -> None:
        rows = rows_of(family)
        graph, counts = graph_of(list(rows.values()))
        self.native: NativeFunction = build(graph, title="contract", directory=directory)
        self.found = tried(list(rows), counts, lambda q: self.native.outputs(q.numpy()))
        self.torch = by_torch(family)
