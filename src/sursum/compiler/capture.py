"""Capture: a Python function of q ∈ Rⁿ becomes a graph of ATen operators, in milliseconds and without torch.compile.

The function runs twice, at two points, under a recorder; the two recordings must be one graph.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from sursum.compiler.compare import compare
from sursum.compiler.graph import Graph, Where
from sursum.compiler.recorder import Recorder
from sursum.errors import CaptureError, EscapeError
from sursum.torch_private import enable_mkldnn, mkldnn_enabled

# Held by the one capture at a time that has oneDNN off: the switch is torch's, of the whole process.
_ONEDNN = threading.RLock()


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Run without oneDNN, whose LSTM is one operator that knows no double."""
    with _ONEDNN:
        enabled = mkldnn_enabled()
        enable_mkldnn(False)
        try:
            yield
        finally:
            enable_mkldnn(enabled)


def _no_site() -> Where:
    return Where(None, None)


def capture(
    fn: Callable[[Tensor], Tensor | Sequence[Tensor]],
    points: tuple[Tensor, Tensor],
    *,
    gradient: bool,
    current_site: Callable[[], Where] = _no_site,
) -> Graph:
    r"""The graph of `fn`, and of its gradient.

    .. math:: q \mapsto (f(q), \nabla f(q)) \quad\text{or}\quad q \mapsto (f_1(q), f_2(q), \dots)

    A check of `torch.distributions` on a value that depends on q, `torch._is_all_true(condition)` looked at by Python,
    and the check of a factorisation become guards. Everything else that lets Python see such a value is an error.

    Arguments:
        fn: from q, float64 of shape (n,), to a tensor of one element (`gradient=True`) or to a sequence of tensors.
            It is called twice.
        points: two q, which should differ in every coordinate, and at which `fn` raises nothing.
        gradient: whether the graph's outputs are `(f(q), ∇f(q))` or what `fn` returns.
        current_site: the site that is being scored, asked at every operator; for messages. Where it knows no line, the
            innermost one outside of sursum and torch is taken.

    Returns:
        The graph, in the program's own dtypes (`double` makes it one in float64).

    Raises:
        BranchError: Python looked at a value that depends on q, or a shape depends on one.
        EscapeError: the two recordings differ.
        CaptureError: the program draws at random, writes into data from outside, or has tensors that are not dense
            and real.

    Example:
        >>> points = torch.ones(2).double(), torch.zeros(2).double()
        >>> graph = capture(lambda q: -(q * q).sum() / 2, points, gradient=True)
        >>> [output.size for output in graph.outputs]
        [(), (2,)]
    """
    with _without_onednn():
        first = _record(fn, points[0], gradient, current_site)
        second = _record(fn, points[1], gradient, current_site)
    compare(first, second)
    return first


def _record(
    fn: Callable[[Tensor], Tensor | Sequence[Tensor]],
    point: Tensor,
    gradient: bool,
    current_site: Callable[[], Where],
) -> Graph:
    """One run of `fn` at `point`, recorded."""
    with torch.inference_mode(False), torch.enable_grad():
        q = point.detach().to(torch.float64, copy=True).requires_grad_(gradient)
        recorder = Recorder(q, current_site)
        with recorder:
            try:
                result = fn(q)
            except RuntimeError as error:
                if "numpy()" in str(error):
                    raise EscapeError(
                        f"a value that depends on the unknowns left torch: {error} A captured density is made of "
                        "torch's operators alone: write this part of the program with them."
                    ) from error
                raise
            recorder.in_program = False
            outputs = _with_gradient(result, q) if gradient else tuple(result)
        return recorder.graph(outputs)


def _with_gradient(result: Tensor | Sequence[Tensor], q: Tensor) -> tuple[Tensor, Tensor]:
    if not isinstance(result, Tensor) or result.numel() != 1 or not result.is_floating_point():
        found = f"shape {tuple(result.shape)}, {result.dtype}" if isinstance(result, Tensor) else type(result).__name__
        raise CaptureError(f"a log density is one real number, and the function returned {found}. Sum it first.")
    value = result.reshape(())
    if not value.requires_grad:
        return value, torch.zeros_like(q)
    (slope,) = torch.autograd.grad(value, q, allow_unused=True, materialize_grads=True)
    return value, slope
