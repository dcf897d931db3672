"""Which engine runs a graph: compiled C where it can be had and has been proved, torch otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sursum.caller import warn
from sursum.compiler.graph import Graph
from sursum.compiler.native import NativeFunction, build, prove
from sursum.compiler.replay import Replay
from sursum.errors import CaptureError, CompileError, EngineWarning, EscapeError

ENGINES = (None, "native", "torch")


def check_engine(engine: str | None) -> None:
    """Raise CompileError where there is no engine of that name."""
    if engine not in ENGINES:
        raise CompileError(f"there is no engine {engine!r}. Choose 'native', 'torch', or None for the fastest there is.")


def native_engine(graph: Graph, replay: Replay, points: Sequence[Tensor], title: str, *, asked: bool) -> NativeFunction | None:
    """The graph in C, proved against its replay at `points`; None, with one note, where torch must run it.

    Args:
        graph: in double precision.
        replay: of the same graph.
        points: where value and gradient are compared, not those of the capture.
        title: what the C text calls the density.
        asked: whether the native engine was asked for by name: then there is no falling back.

    Raises:
        CompileError: the engine was asked for and cannot be had.
    """
    try:
        native = build(graph, title=title)
        prove(native, replay, points)
    except CompileError as error:
        if asked:
            raise
        warn(f"the torch engine runs this density, many times slower than C would: {error}", EngineWarning)
        return None
    return native


def check_replay(replay: Replay, points: Sequence[Tensor], values: Sequence[float], dtype: torch.dtype) -> None:
    """That the replay's log density is the program's own, `values` at the points, to the program's precision.

    Raises:
        CaptureError: they differ: a fault of ours.
    """
    tolerance = 1e-9 if dtype is torch.float64 else 1e-2 if dtype is torch.float32 else 0.3
    for q, wanted in zip(points, values, strict=True):
        found = float(replay(q)[0])
        if np.isfinite(wanted) and not abs(found - wanted) <= tolerance * max(1.0, abs(wanted)):
            raise CaptureError(
                f"the captured graph gives a log density of {found} where the program itself gives {wanted}. This is a "
                "fault of sursum's capture: please report it."
            )


def check_branches(
    replay: Callable[[Tensor], Sequence[Tensor]],
    eager: Callable[[Tensor], Tensor],
    points: Sequence[Tensor],
    dtype: torch.dtype,
) -> None:
    """That the program is the same graph away from the points of the capture, as far as that can be seen from its value.

    Far out a program in single precision is not accurate, so only a difference that no rounding makes is an error.

    Raises:
        EscapeError: the program took another branch, which no operator showed.
    """
    tolerance = 1e-3 if dtype is torch.float64 else 0.1
    for q in points:
        try:
            with torch.no_grad():
                wanted = float(eager(q))
        except (ValueError, ArithmeticError, torch.linalg.LinAlgError):
            continue
        found = float(replay(q)[0])
        if np.isfinite(wanted) and np.isfinite(found) and not abs(found - wanted) <= tolerance * max(1.0, abs(wanted)):
            raise EscapeError(
                f"away from the points of the capture the program is another one: its log density there is {wanted}, and "
                f"{found} by the captured graph. The likely cause is a value of q that left torch (.numpy(), tolist, float of "
                "a NumPy number) and chose a branch. Write the choice with torch.where."
            )
