"""Capture: turn a Python function of q ∈ Rⁿ into a graph of ATen operators, in milliseconds and without torch.compile.

The function runs twice, at two points, under a recorder; the two recordings must be the same graph. Where the graph of
the first gives the function's numbers at the second point to the last bit, the second run need not be recorded.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sursum.common.precision import enforce_double, widen, without_modes
from sursum.common.torch_private import enable_mkldnn, function_of, mkldnn_enabled
from sursum.common.user_frame import is_ours, raising_line
from sursum.compiler.capture import refusals
from sursum.compiler.capture.argument_checks import ArgumentChecks
from sursum.compiler.capture.branches import Answers, Doubt, settle
from sursum.compiler.capture.derivatives import ExactDerivatives
from sursum.compiler.capture.repeats import RepeatingRecorder
from sursum.compiler.capture.selection import SelectByTensor
from sursum.compiler.capture.where import site_at_work
from sursum.compiler.graph.assumption import same_bits
from sursum.compiler.graph.compare import compare
from sursum.compiler.graph.graph import Graph, Where, has_inner
from sursum.compiler.graph.hiding import may_hide
from sursum.errors import CaptureError, EscapeError, SursumError

# Held by the capture that controls torch's switches, which are process-wide.
_SWITCHES = threading.RLock()


@contextmanager
def _plainly() -> Iterator[None]:
    """Run without oneDNN, whose LSTM is one operator without double precision, and with unoptimised scripts: optimised
    ones run different operators from the second run on."""
    with _SWITCHES, torch.jit.optimized_execution(False):
        enabled = mkldnn_enabled()
        enable_mkldnn(False)
        try:
            yield
        finally:
            enable_mkldnn(enabled)


def capture(
    fn: Callable[[Tensor], Any],
    points: tuple[Tensor, Tensor],
    *,
    gradient: bool,
    current_site: Callable[[], Where] = site_at_work,
) -> Graph:
    r"""The graph of `fn`, and of its gradient.

    .. math:: q \mapsto (f(q), \nabla f(q)) \quad\text{or}\quad q \mapsto (f_1(q), f_2(q), \dots)

    A check of `torch.distributions` on a value that depends on q, `torch._is_all_true(condition)` read by Python,
    and the check of a factorisation become guards. Anything else that lets Python see such a value is an error.

    Args:
        fn: a function of q, float64 of shape (n,), that returns a sequence of tensors or, for `gradient=True`, a tensor of one
            element, or `Beside`. It is called twice, and once for every check that may be a branch (`settle`).
        points: two q, which should differ in every coordinate, and at which `fn` does not raise.
        gradient: whether the graph's outputs are `(f(q), ∇f(q))`, and the others, or what `fn` returns.
        current_site: returns the site that is being scored, called at every operator; for messages. If it has no line, the
            innermost one outside sursum and torch is used.

    Returns:
        The graph, in double precision: see `sursum.common.precision`.

    Raises:
        BranchError: Python reads a value that depends on q, a shape depends on one, or the program continues where a
            check fails.
        EscapeError: the two recordings differ.
        CaptureError: the program draws at random, writes to data from outside, or has tensors that are not dense
            and real.

    Example:
        >>> points = torch.ones(2).double(), torch.zeros(2).double()
        >>> graph = capture(lambda q: -(q * q).sum() / 2, points, gradient=True)
        >>> [output.size for output in graph.outputs]
        [(), (2,)]
    """
    return Capture(fn, points, gradient=gradient, current_site=current_site).graph


@dataclass(frozen=True)
class Beside:
    """A log density, and other tensors that are wanted at the same q."""

    density: Tensor
    others: tuple[Tensor, ...]


@dataclass(frozen=True)
class _CapturedRun:
    """The graph of one run, its doubts, its results, and whether autograd runs Python for its gradient.

    `forward` is the graph without the backward pass, which torch derives from the operators before it.
    """

    graph: Graph
    doubts: list[Doubt]
    found: tuple[Tensor, ...]
    python_backward: bool
    forward: Graph | None


class Capture:
    """A function and its graph; see `capture`, whose arguments these are.

    Where there are more than two points the second recording is made at the first of the others at which `fn` runs and gives a
    finite number, or at the last one. `points` are those of the recordings, `found` the results there, and `python_backward` is
    whether autograd runs Python for its gradient. If the first recording is `enough`, there is no second. `replay`, if given,
    makes what executes the first recording: where all outputs of a plain run of `fn` at the second point are those bits, the
    run is not recorded. Rounding is that of the same operators, so that a number or a branch that has escaped changes them,
    unless an operator may leave it out at both points: then the second run is recorded, too.
    """

    def __init__(
        self,
        fn: Callable[[Tensor], Any],
        points: Sequence[Tensor],
        *,
        gradient: bool,
        current_site: Callable[[], Where] = site_at_work,
        enough: Callable[[Capture], bool] = lambda _: False,
        replay: Callable[[Graph], Callable[[Tensor], Sequence[Tensor]]] | None = None,
    ) -> None:
        self._fn, self._gradient, self._current_site = fn, gradient, current_site
        first = self._record(points[0], Answers(doubts=True))
        idle = settle(first.graph, first.doubts, lambda answers: self._record(points[0], answers).graph)
        self._answers = Answers(idle)
        if idle:
            first = self._record(points[0], self._answers)
        self.graph, self.python_backward, self._forward = first.graph, first.python_backward, first.forward
        self.points, self.found = (points[0],), (first.found,)
        # Whether a check is a branch, and what Python does backwards, no graph shows.
        self.is_plain = not first.doubts and not first.python_backward
        if not enough(self):
            again = (self._replayed(points[1:], replay(self.graph)) if replay and self._is_cheap() else None) or self._again(
                points[1:]
            )
            self.points, self.found = (points[0], again[0]), (first.found, again[1])

    points: tuple[Tensor, ...]
    found: tuple[tuple[Tensor, ...], ...]

    def _again(self, points: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Where the second recording was made, and the result there."""
        for point in points[:-1]:
            try:
                found = self.compare_at(point)
            except CaptureError:
                raise
            except Exception:
                continue  # it need not run there
            if bool(found[0].isfinite().all()):
                return point, found
        return points[-1], self.compare_at(points[-1])

    def _is_cheap(self) -> bool:
        """Whether a plain run tells as much as a recording, in less time: a loop's step is recorded once, and run each time."""
        if not (self._gradient and self.is_plain) or has_inner(self.graph.nodes):
            return False
        density, _, *others = self.graph.outputs
        return not may_hide(replace(self.graph, outputs=(density, *others)))

    def _replayed(
        self, points: Sequence[Tensor], replay: Callable[[Tensor], Sequence[Tensor]]
    ) -> tuple[Tensor, tuple[Tensor, ...]] | None:
        """Where the function has a density, and its results there if they are the graph's, bit by bit; else None."""
        for point in points:
            try:
                found = self.run_at(point)
                if not bool(found[0].isfinite()):
                    continue
                alike = all(
                    same_bits(mine.contiguous(), its.contiguous()) for mine, its in zip(found, replay(point), strict=True)
                )
            except CaptureError:
                raise
            except Exception:
                continue  # it need not run there
            return (point, found) if alike else None
        return None

    def run_at(self, point: Tensor) -> tuple[Tensor, ...]:
        """The outputs of the graph at a point by a run of the function, with a gradient, that is not recorded.

        Autograd runs no Python for the gradient.

        Raises:
            Exception: what the function raises there.
        """
        derivatives = ExactDerivatives()
        with (
            _plainly(),
            torch.inference_mode(False),
            torch.enable_grad(),
            enforce_double(derivatives),
            ExitStack() as backwards,
        ):
            q = point.detach().to(torch.float64, copy=True).requires_grad_()
            outputs = _with_density(self._fn(q))
            if not derivatives.is_needed:
                backwards.enter_context(without_modes())
            return tuple([output.detach() for output in (outputs[0], _slope(outputs[0], q), *outputs[1:])])

    def compare_at(self, point: Tensor) -> tuple[Tensor, ...]:
        """The result of the function at this point; an EscapeError if it has a different graph there.

        Raises:
            Exception: what the function raises there.
        """
        other = self._record(point, self._answers, backward=self._forward is None)
        compare(self._forward or self.graph, other.graph)
        return other.found

    def _record(self, point: Tensor, answers: Answers, *, backward: bool = True) -> _CapturedRun:
        with _plainly():
            return _record(self._fn, point, self._gradient, self._current_site, answers, backward)


def _record(
    fn: Callable[[Tensor], Any],
    point: Tensor,
    gradient: bool,
    current_site: Callable[[], Where],
    answers: Answers,
    backward: bool,
) -> _CapturedRun:
    """One run of `fn` at `point`, recorded; its backward pass, too, if `backward`."""
    with torch.inference_mode(False), torch.enable_grad():
        q = point.detach().to(torch.float64, copy=True).requires_grad_(gradient)
        recorder = RepeatingRecorder(q, current_site, answers)
        checks, indexing = ArgumentChecks(recorder), SelectByTensor(recorder.traces)

        def instead(func: Any, args: Sequence[Any]) -> Any:
            found = checks.instead(func, args)
            return indexing.instead(func, args) if found is NotImplemented else found

        with enforce_double(recorder, instead):
            try:
                result = fn(q)
            except NotImplementedError as error:
                if "HigherOrderOperator" in str(error):
                    raise refusals.control_flow(Where(current_site().site, raising_line(error))) from error
                raise
            except RuntimeError as error:
                if recorder.failure is not None and not isinstance(error, SursumError):  # in the clothes of an interpreter
                    raise recorder.failure from error
                if "numpy()" in str(error):
                    raise EscapeError(
                        f"a value that depends on the unknowns left torch: {error} A captured density is made of "
                        "torch's operators alone: write this part of the program with them."
                    ) from error
                raise
            outputs = _with_density(result) if gradient else tuple(map(widen, result))
            recorder.end_program(outputs)
            slopes = (_slope(outputs[0], q),) if gradient and backward else ()
        recorded = (*outputs[:1], *slopes, *outputs[1:]) if slopes else outputs
        graph = recorder.graph(recorded)
        if gradient and not backward:
            with enforce_double(ExactDerivatives()):
                recorded = (outputs[0], _slope(outputs[0], q), *outputs[1:])
        python = gradient and _has_python(outputs)
        forward = None
        if slopes and not python:
            forward = recorder.forward(replace(graph, outputs=(graph.outputs[0], *graph.outputs[2:])))
        return _CapturedRun(graph, recorder.doubts, tuple([output.detach() for output in recorded]), python, forward)


def _with_density(result: Any) -> tuple[Tensor, ...]:
    """The density, one number, and what else there is."""
    others: tuple[Tensor, ...] = ()
    if isinstance(result, Beside):
        result, others = result.density, tuple(map(widen, result.others))
    if not isinstance(result, Tensor) or result.numel() != 1 or not result.is_floating_point():
        found = f"shape {tuple(result.shape)}, {result.dtype}" if isinstance(result, Tensor) else type(result).__name__
        raise CaptureError(f"a log density is one real number, and the function returned {found}. Sum it first.")
    return result.reshape(()), *others


def _slope(value: Tensor, q: Tensor) -> Tensor:
    """The gradient, by autograd."""
    if not value.requires_grad:
        return torch.zeros_like(q)
    (slope,) = torch.autograd.grad(value, q, allow_unused=True, materialize_grads=True)
    return slope


def is_written(node: object) -> bool:
    """Whether a node of autograd runs a Python backward that is not ours."""
    function: Any = function_of(node)
    return function is not None and not is_ours(inspect.unwrap(function.backward).__code__.co_filename)


def _has_python(outputs: Sequence[Tensor]) -> bool:
    """Whether autograd's backward pass runs a `torch.autograd.Function` of the program."""
    stack: list[Any] = [output.grad_fn for output in outputs if output.grad_fn is not None]
    seen = set(stack)
    while stack:
        node = stack.pop()
        if is_written(node):
            return True
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                stack.append(child)
    return False
