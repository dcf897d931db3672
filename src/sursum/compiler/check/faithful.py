"""Check a captured graph against its program: compare log densities and gradients, near the points of the capture and far out.

A branch that no operator shows (a value that became a NumPy number, an error that was caught) changes the result, possibly by
a single nat. Rounding changes it, too: the graph that is run is in double precision, but a program may be in single. So
where they differ the graph is replayed in the program's own precision, operator by operator: a remaining difference is not
rounding.
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

#: Maximum difference, in units in the last place of a number or of 1, that needs no further check.
_UNITS = 64.0
#: A difference counts as rounding up to this multiple of what perturbed rounding of the same operators does.
_ALLOWANCE = 10.0


@dataclass(frozen=True)
class Numbers:
    """A log density and its gradient at a point; not finite if undefined, with `why` it could not be computed."""

    value: float
    gradient: NDArray[np.float64]
    why: str = ""

    @classmethod
    def of(cls, run: Replayed, q: Tensor) -> Numbers:
        """The result of `run`; any error other than ours about the capture means a density of 0."""
        try:
            value, gradient = run(q)
        except CaptureError:
            raise
        except Exception as error:
            return cls(-np.inf, np.zeros(len(q)), f"{type(error).__name__}: {error}")
        return cls(float(value), gradient.detach().double().numpy())

    def differs(self, other: Numbers, allowed: tuple[float, float]) -> str | None:
        """Which of these numbers differ from `other` by more than is allowed for log density and gradient."""
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
    """Check that the program and its graph have the same log density and gradient at all these points.

    Args:
        captured: the graph, in the program's own precision.
        known: the replay of the graph that is run.
        program: returns the program's own log density and gradient.
        near: points at which the program runs.
        far: points at which it may take a different branch, or fail.

    Raises:
        EscapeError: they differ, and rounding does not explain it: the program took a branch that no operator showed.
        CaptureError: the graph that is run is not the one that was captured: a bug in sursum.
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
    """Like `check_faithful`, with fewer runs, for a program whose numbers all stay in torch, including the backward pass.

    A recording is a run of the program, so at the points of the capture its results are the program's; the second one may be
    well away from the first. Far out the program runs once with its gradient, unless it was recorded there, and once more,
    farthest out, for its log density only.

    Args:
        captured, known, program: as in `check_faithful`.
        value: returns only the program's own log density.
        recorded: the points of the capture, the first one near the start, and the program's results there.
        far: points at which it may take a different branch, the farthest last.

    Raises:
        EscapeError, CaptureError: as in `check_faithful`.
    """
    own = _Own(captured)
    for k, (q, (density, gradient, *_)) in enumerate(recorded):
        own.check(q, Numbers(float(density), gradient.double().numpy()), known, near=k == 0)
    *nearer, farthest = far
    for q in nearer:
        wanted = Numbers.of(program, q)
        own.check(q, wanted, known, near=False)
        if np.isfinite(wanted.value):
            break
    own.check(farthest, Numbers.of(value, farthest), known, near=False)


def check_again(
    captured: Graph,
    known: Replayed,
    program: Replayed,
    recorded: tuple[Tensor, Sequence[Tensor]],
    others: Sequence[Tensor],
) -> None:
    """Like `check_seen`, for a program whose recording is one that was checked before, but for the numbers of its data.

    Args:
        captured, known, program: as in `check_seen`.
        recorded: the point of the recording, and the program's results there.
        others: points at which the program is run, until it has a density at one of them.

    Raises:
        EscapeError, CaptureError: as in `check_faithful`.
    """
    own = _Own(captured)
    q, (density, gradient, *_) = recorded
    own.check(q, Numbers(float(density), gradient.double().numpy()), known, near=True)
    for q in others:
        wanted = Numbers.of(program, q)
        own.check(q, wanted, known, near=False)
        if np.isfinite(wanted.value):
            break


def check_unseen(program: Capture, points: Sequence[Tensor]) -> None:
    """Check that the program, some of whose numbers leave torch undetected, runs the same operators at all points.

    Raises:
        EscapeError: it does not.
    """
    for q in points:
        try:
            program.compare_at(q)
        except EscapeError as error:
            raise EscapeError(
                f"away from the points of the capture the program is a different function: {error} Write a choice with "
                "torch.where."
            ) from error
        except CaptureError:
            raise
        except Exception:
            continue  # it has no density there: `check_faithful` has checked whether the graph has one


class _Own:
    """The captured graph in the program's own precision, replayed on demand."""

    def __init__(self, captured: Graph) -> None:
        self._graph, self._replay = captured, None
        dtypes = {value.dtype for value in captured.values.values() if value.dtype.is_floating_point}
        self._unit = max((torch.finfo(dtype).eps for dtype in dtypes), default=torch.finfo(torch.float64).eps)
        #: Nearly all digits in double precision; in single precision those of a number of a few thousand.
        self.tolerance = max(_UNITS * self._unit, 1e-10)

    def check(self, q: Tensor, wanted: Numbers, known: Replayed, *, near: bool) -> None:
        """Check that the program, with result `wanted`, and the graph that is run agree at `q`, a point of the capture or not.

        Raises:
            EscapeError: the program took a different branch.
            CaptureError: the graph that is run is not the one that was captured.
        """
        found = Numbers.of(known, q)
        if not wanted.gradient.size:  # only the log density was requested
            wanted = replace(wanted, gradient=found.gradient)
        if found.differs(wanted, wanted.allowed(self.tolerance)) is None:
            return
        what = self.differs(wanted, q)
        if what is not None:
            raise _escape(what, wanted, found, not near)
        if near and self.differs(found, q) is not None:
            raise CaptureError(
                f"the captured graph gives a log density of {found.value} where the program itself gives {wanted.value}, and "
                "rounding does not explain the difference. This is a bug in sursum's capture: please report it."
            )

    def differs(self, numbers: Numbers, q: Tensor) -> str | None:
        """How this replay and `numbers` differ beyond rounding."""
        if self._replay is None:
            self._replay = Replay(self._graph)
        mine = Numbers.of(self._replay, q)
        if mine.differs(numbers, numbers.allowed(_UNITS * self._unit)) is None:
            return None
        try:
            value, gradient = rounding(self._replay, q)
        except Exception:
            return None  # whether it runs at all depends on rounding
        if not np.isfinite(value).all():
            return None  # whether the result is finite depends on rounding
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
        f"{where} the program is a different function: {said}. The likely cause is a value of q that left torch (.numpy(), "
        "tolist, float of a NumPy number) and chose a branch, or an error that the program catches. Write the choice with "
        "torch.where."
    )
