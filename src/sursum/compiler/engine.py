"""Which engine runs a graph: compiled C where it can be had and has been proved, torch otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from torch import Tensor

from sursum.common.user_frame import warn
from sursum.compiler.graph.graph import Graph
from sursum.compiler.graph.replay import Replay
from sursum.compiler.native import NativeFunction, build, prove
from sursum.errors import CompileError, EngineWarning

Replayed = Callable[[Tensor], Sequence[Tensor]]

ENGINES = (None, "native", "torch")


def check_engine(engine: str | None) -> None:
    """Raise CompileError where there is no engine of that name."""
    if engine not in ENGINES:
        raise CompileError(f"there is no engine {engine!r}. Choose 'native', 'torch', or None for the fastest there is.")


class Remembered:
    """A replay that is run once for every point, however often it is asked for."""

    def __init__(self, replay: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
        self._replay = replay
        self._found: dict[bytes, tuple[Tensor, ...]] = {}

    def __call__(self, q: Tensor) -> tuple[Tensor, ...]:
        key = q.numpy().tobytes()
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._replay(q)
        return found


class Build:
    """The C of a graph, made in a thread of its own while it is entered; of no graph, nothing.

    Most of the time a C compiler, another process, is waited for.
    """

    def __init__(self, graph: Graph | None, title: str) -> None:
        self._graph, self._title = graph, title
        self._native: NativeFunction | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="sursum-build")

    def _work(self) -> None:
        try:
            if self._graph is not None:
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


def native_engine(
    building: Build, replay: Replay, known: Remembered, points: Sequence[Tensor], *, asked: bool
) -> NativeFunction | None:
    """The graph in C, proved against its replay at `points`; None, with one note, where torch must run it.

    Args:
        building: makes it.
        replay: of the same graph.
        known: what it gives.
        points: where value and gradient are compared, most of them not those of the capture.
        asked: whether the native engine was asked for by name: then there is no falling back.

    Raises:
        CompileError: the engine was asked for and cannot be had.
    """
    try:
        native = building.result()
        prove(native, replay, points, known=known)
    except CompileError as error:
        if asked:
            raise
        warn(f"the torch engine runs this density, many times slower than C would: {error}", EngineWarning)
        return None
    return native
