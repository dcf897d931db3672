"""That a captured graph is its program: their log densities and gradients compared, near the points of the capture and far out.

A branch that no operator shows (a value that became a number of NumPy's, an error that was caught) gives other numbers, be it a
single nat. Rounding gives other numbers, too: the graph that is run is in double precision, and a program may be in single. So
where they differ the graph is replayed in the program's own precision, operator by operator: what differs then is no rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.compiler.capture.capture import Capture
from sursum.compiler.graph.graph import Graph
from sursum.compiler.graph.replay import Replay
from sursum.compiler.native.rounding import rounding
from sursum.errors import CaptureError, EscapeError

Replayed = Callable[[Tensor], Sequence[Tensor]]

#: Differences of so many units in the last place, of a number or of 1, need no explanation by rounding.
_UNITS = 64.0
#: A difference is rounding if it is no more than so many times what other roundings of the same operators do.
_ALLOWANCE = 10.0


@dataclass(frozen=True)
class Numbers:
    """A log density and its gradient at a point; not finite where there is none, `why` it could not be computed."""

    value: float
    gradient: NDArray[np.float64]
    why: str = ""

    @classmethod
    def of(cls, run: Replayed, q: Tensor) -> Numbers:
        """What `run` gives; any error that is not ours about the capture stands for a density of 0."""
        try:
            value, gradient = run(q)
        except CaptureError:
            raise
        except Exception as error:
            return cls(-np.inf, np.zeros(len(q)), f"{type(error).__name__}: {error}")
        return cls(float(value), gradient.detach().double().numpy())

    def differs(self, other: Numbers, allowed: tuple[float, float]) -> str | None:
        """In what these numbers are not `other`, beyond what is allowed of the log density and of the gradient."""
        if not (np.isfinite(self.value) and np.isfinite(other.value)):
            return None if np.isfinite(self.value) == np.isfinite(other.value) else "log density"
        if not abs(self.value - other.value) <= allowed[0]:
            return "log density"
        mine, others = np.isfinite(self.gradient), np.isfinite(other.gradient)
        far = np.abs(np.where(mine, self.gradient, 0.0) - np.where(others, other.gradient, 0.0))
        return None if (mine == others).all() and (far <= allowed[1]).all() else "gradient"

    def allowed(self, tolerance: float) -> tuple[float, float]:
        """`tolerance`, relative to these numbers or to 1."""
        finite = np.abs(self.gradient[np.isfinite(self.gradient)])
        return (
            tolerance * max(1.0, abs(self.value)) if np.isfinite(self.value) else tolerance,
            tolerance * max(1.0, float(finite.max(initial=0.0))),
        )


def check_faithful(captured: Graph, known: Replayed, program: Replayed, near: Sequence[Tensor], far: Sequence[Tensor]) -> None:
    """That the program and its graph have one log density and one gradient, wherever they are compared.

    Args:
        captured: the graph, in the program's own precision.
        known: the replay of the graph that is run.
        program: gives the program's own log density and gradient.
        near: points at which the program runs.
        far: points at which it may take another way, or none.

    Raises:
        EscapeError: they differ, and no rounding explains it: the program took a way that no operator showed.
        CaptureError: the graph that is run is not the one that was captured: a fault of ours.
    """
    own = _Own(captured)
    for q in near:
        own.check(q, Numbers.of(program, q), known, near=True)
    for q in far:
        own.check(q, Numbers.of(program, q), known, near=False)


def check_seen(
    captured: Graph,
    known: Replayed,
    program: Replayed,
    value: Replayed,
    recorded: Iterable[tuple[Tensor, Sequence[Tensor]]],
    far: Sequence[Tensor],
) -> None:
    """As `check_faithful`, with fewer runs of a program all of whose numbers stay in torch, backward included.

    A recording is a run of the program, so that at the points of the capture its own numbers stand for the program's. Far
    out the program runs where it has one gradient, and once more for its log density, where it is farthest.

    Args:
        captured, known, program: as `check_faithful` has them.
        value: gives the program's own log density alone.
        recorded: the points of the capture, and what the program gave there while it was recorded.
        far: points at which it may take another way, the farthest last.

    Raises:
        EscapeError, CaptureError: as `check_faithful` does.
    """
    own = _Own(captured)
    for q, (density, gradient, *_) in recorded:
        own.check(q, Numbers(float(density), gradient.double().numpy()), known, near=True)
    *nearer, farthest = far
    for q in nearer:
        wanted = Numbers.of(program, q)
        own.check(q, wanted, known, near=False)
        if np.isfinite(wanted.value):
            break
    own.check(farthest, Numbers.of(value, farthest), known, near=False)


def check_unseen(program: Capture, points: Sequence[Tensor]) -> None:
    """That the program, whose numbers leave torch unseen, runs the same operators at all of the points.

    Raises:
        EscapeError: it does not.
    """
    for q in points:
        try:
            program.compare_at(q)
        except EscapeError as error:
            raise EscapeError(
                f"away from the points of the capture the program is another one: {error} Write a choice with torch.where."
            ) from error
        except CaptureError:
            raise
        except Exception:
            continue  # it has no density there: `check_faithful` has seen whether the graph has one


class _Own:
    """The captured graph in the program's own precision, replayed only where it is asked."""

    def __init__(self, captured: Graph) -> None:
        self._graph, self._replay = captured, None
        dtypes = {value.dtype for value in captured.values.values() if value.dtype.is_floating_point}
        self._unit = max((torch.finfo(dtype).eps for dtype in dtypes), default=torch.finfo(torch.float64).eps)
        #: Of double precision nearly all, of a program in single precision what it gives of a number of a few thousand.
        self.tolerance = max(_UNITS * self._unit, 1e-10)

    def check(self, q: Tensor, wanted: Numbers, known: Replayed, *, near: bool) -> None:
        """That the program, which gives `wanted`, and the graph that is run agree at `q`, a point of the capture or not.

        Raises:
            EscapeError: the program took another way.
            CaptureError: the graph that is run is not the one that was captured.
        """
        found = Numbers.of(known, q)
        if not wanted.gradient.size:  # the log density alone was asked for
            wanted = replace(wanted, gradient=found.gradient)
        if found.differs(wanted, wanted.allowed(self.tolerance)) is None:
            return
        what = self.differs(wanted, q)
        if what is not None:
            raise _escape(what, wanted, found, not near)
        if near and self.differs(found, q) is not None:
            raise CaptureError(
                f"the captured graph gives a log density of {found.value} where the program itself gives {wanted.value}, and "
                "no rounding explains the difference. This is a fault of sursum's capture: please report it."
            )

    def differs(self, numbers: Numbers, q: Tensor) -> str | None:
        """In what this replay and `numbers` differ that no rounding explains."""
        if self._replay is None:
            self._replay = Replay(self._graph)
        mine = Numbers.of(self._replay, q)
        if mine.differs(numbers, numbers.allowed(_UNITS * self._unit)) is None:
            return None
        try:
            value, gradient = rounding(self._replay, q)
        except Exception:
            return None  # rounding decides whether it runs at all
        if not np.isfinite(value).all():
            return None  # rounding decides whether there is a number at all
        slack = _ALLOWANCE * float(value), _ALLOWANCE * float(np.nan_to_num(gradient, nan=np.inf).max(initial=0.0))
        return mine.differs(numbers, slack)

    _replay: Replay | None


def _escape(what: str, wanted: Numbers, found: Numbers, far: bool) -> EscapeError:
    if wanted.why:
        said = f"it fails there ({wanted.why}), where the captured graph has a log density of {found.value}"
    elif what == "gradient":
        k = int(np.argmax(np.abs(np.nan_to_num(wanted.gradient - found.gradient, nan=np.inf))))
        said = f"coordinate {k} of its gradient there is {wanted.gradient[k]}, and {found.gradient[k]} by the captured graph"
    else:
        said = f"its log density there is {wanted.value}, and {found.value} by the captured graph"
    where = "away from the points of the capture" if far else "at the points of the capture"
    return EscapeError(
        f"{where} the program is another one: {said}. The likely cause is a value of q that left torch (.numpy(), tolist, "
        "float of a NumPy number) and chose a branch, or an error that the program catches. Write the choice with torch.where."
    )
