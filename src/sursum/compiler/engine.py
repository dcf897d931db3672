"""Parts of engines: a cached replay, and a build in a separate thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from sursum.common.settings import check_setting
from sursum.compiler.graph.graph import Graph
from sursum.compiler.graph.points import at_points
from sursum.compiler.graph.replay import Replay
from sursum.compiler.native.build import build
from sursum.compiler.native.library.library import NativeFunction
from sursum.errors import CompileError, SursumError

Replayed = Callable[[Tensor], tuple[Tensor, ...]]

ENGINES = (None, "native", "torch")

DENSITY_ENGINES = (*ENGINES, "eager")
"""Those of a density, which Python can run as well."""


def check_engine(engine: Any, error: type[SursumError] = CompileError, engines: Sequence[str | None] = ENGINES) -> None:
    """Raise if no engine has that name."""
    known = any(engine is one or (isinstance(engine, str) and engine == one) for one in engines)
    names = ", ".join(repr(one) for one in engines if one)
    check_setting("engine", known, engine, f"{names} or None", error, "leave it out for the fastest available")


class Remembered:
    """A replay whose results are cached for each point."""

    def __init__(self, replay: Replayed) -> None:
        self.replay = replay
        self._found: dict[bytes, tuple[Tensor, ...]] = {}

    def __call__(self, q: Tensor) -> tuple[Tensor, ...]:
        key = q.numpy().tobytes()
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self.replay(q)
        return found

    def foresee(self, graph: Graph, points: Sequence[Tensor]) -> None:
        """Compute what will be asked for at the points, all at once where that is sooner: by `graph`, whose replay this is.

        The last digits may be others than the replay's.
        """
        keys = {q.numpy().tobytes(): q for q in points}
        new = [(key, q) for key, q in keys.items() if key not in self._found]
        interpreter = self.replay.interpreter if isinstance(self.replay, Replay) else None
        for (key, _), found in zip(new, at_points(graph, [q for _, q in new], interpreter), strict=True):
            if found is not None:
                self._found[key] = found


class Build:
    """Builds the C of a graph in a separate thread while it is active.

    Most of the time is spent waiting for the C compiler, a separate process.
    """

    def __init__(self, graph: Graph, title: str) -> None:
        self._graph, self._title = graph, title
        self._native: NativeFunction | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="sursum-build")

    def _work(self) -> None:
        try:
            self._native = build(self._graph, title=self._title)
        except BaseException as error:
            self._failure = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._thread.join()

    def result(self) -> NativeFunction:
        """The function, or the error that building it raised.

        Raises:
            CompileError: there is no compiler, or it failed; or an operator has no C.
        """
        if self._failure is not None:
            raise self._failure
        assert self._native is not None
        return self._native
