"""The densities that were compiled last in this process, by what was recorded of their programs.

A program is recorded each time: no look at its code can tell what its closures and globals hold. Where the recording is
the one of an earlier density but for the numbers of its data, that one's passes, C and proof are those of this one too, if no
pass has used numbers that are others now; only the program itself is still compared with it. Kept beside them are the operators
of log densities of families (`capture/repeats.py`), which need not be recorded again.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sursum.compiler.graph.assumption import same_bits
from sursum.compiler.graph.compare import difference
from sursum.compiler.graph.graph import Graph

MOST_BYTES = 1 << 27
"""Data that all of them may hold; the oldest go first."""

MOST = 16

MOST_FORMULAS = 256
"""Log densities of families, by the layout of their tensors; the oldest go first."""


@dataclass(frozen=True, eq=False)
class Known:
    """A recording, the names that belong to it, and what was made of it."""

    graph: Graph
    names: tuple[str, ...]
    made: Any

    def has_data_of(self, graph: Graph) -> bool:
        """Whether the numbers of its data are those of this recording, which is the same otherwise."""
        return all(same_bits(constant, graph.constants[value]) for value, constant in self.graph.constants.items())

    @property
    def nbytes(self) -> int:
        return sum(constant.nbytes for constant in self.graph.constants.values())


@dataclass(eq=False)
class Recent:
    """The last ones, which any thread may use."""

    _known: list[Known] = field(default_factory=list, init=False)
    _formulas: dict[Hashable, Any] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def find(self, graph: Graph, names: Sequence[str]) -> Known | None:
        """The newest with the same recording under these names, apart from the numbers of data; None if there is none."""
        with self._lock:
            known = [one for one in self._known if one.names == tuple(names) and len(one.graph.nodes) == len(graph.nodes)]
        return next((one for one in reversed(known) if difference(one.graph, graph, numbers=False) is None), None)

    def add(self, graph: Graph, names: Sequence[str], made: Any, instead: Known | None = None) -> None:
        """Keep one more, instead of another or of the oldest."""
        one = Known(graph, tuple(names), made)
        with self._lock:
            self._known = [*(known for known in self._known if known is not instead), one]
            while len(self._known) > MOST or sum(known.nbytes for known in self._known) > MOST_BYTES:
                self._known.pop(0)

    def formula(self, key: Hashable) -> Any:
        """What was kept of a log density; None if there is nothing."""
        with self._lock:
            return self._formulas.get(key)

    def keep(self, key: Hashable, formula: Any) -> None:
        """Keep what a log density is made of."""
        with self._lock:
            self._formulas[key] = formula
            while len(self._formulas) > MOST_FORMULAS:
                self._formulas.pop(next(iter(self._formulas)))

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._known.clear()
            self._formulas.clear()


RECENT = Recent()
"""Those of this process: the one thing that is kept between two compilations."""
