"""Replay: a graph executed by torch. The reference for the native engine, and an engine itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from sursum.common.vmap import vmap
from sursum.compiler.capture.refusals import place
from sursum.compiler.graph.graph import Graph
from sursum.compiler.graph.interpreter import Interpreter
from sursum.compiler.graph.python_codegen import Run, straight_line
from sursum.errors import DensityError

#: How many runs are interpreted: a compilation with its checks makes fewer, and any use makes more.
_FEW = 20


class Replay:
    """Executes a graph operator by operator, without autograd.

    Its first calls, which as a rule check the graph, are interpreted; then it is compiled to straight-line Python, `source`,
    one line per operator, which takes as long as dozens of them. Calls share no state, so threads may share a replay.

    Args:
        graph: as `capture` or `double` made it.
        guards: whether guards are checked; without them the replay has no branch.

    Example:
        >>> from sursum.compiler.capture.capture import capture
        >>> points = torch.ones(2).double(), torch.zeros(2).double()
        >>> replay = Replay(capture(lambda q: -(q * q).sum() / 2, points, gradient=True))
        >>> replay(torch.tensor([1.0, 2.0], dtype=torch.float64))
        (tensor(-2.5000, dtype=torch.float64), tensor([-1., -2.], dtype=torch.float64))
    """

    def __init__(self, graph: Graph, *, guards: bool = True) -> None:
        self.dim = graph.values[graph.input].numel
        self._graph, self._guards, self._calls = graph, guards, 0
        sizes = [output.size for output in graph.outputs]
        self._is_density = sizes == [(), (self.dim,)]
        self._dtypes = [output.dtype for output in graph.outputs]
        self._checks = tuple(graph.guards)

    @cached_property
    def interpreter(self) -> Interpreter:
        """What the first calls are made by."""
        return Interpreter(self._graph, guards=self._guards)

    @property
    def source(self) -> str:
        """The straight-line Python."""
        return self._line[0]

    @cached_property
    def _line(self) -> tuple[str, Run]:
        return straight_line(self._graph, guards=self._guards, strided=True)

    def __call__(self, q: Tensor) -> tuple[Tensor, ...]:
        """The outputs at `q`, float64 of shape (n,).

        If a guard or a factorisation fails, the outputs of a density are (−∞, zeros).

        Raises:
            DensityError: a guard fails and the graph is not that of a density and its gradient.
        """
        with torch.no_grad():
            try:
                failed, outputs = self._runner()(q)
            except torch.linalg.LinAlgError:
                if not self._is_density:
                    raise
                failed, outputs = -1, ()
            if failed is None:
                return outputs
            if not self._is_density:
                raise DensityError(
                    f"a check of arguments fails at this point{place(self._checks[failed].where)}, so the program has "
                    "no values here. Check the values at the point, or replay without guards."
                )
            value, slope = self._dtypes
            return q.new_full((), -torch.inf, dtype=value), q.new_zeros(self.dim, dtype=slope)

    def _runner(self) -> Run:
        if self._calls >= _FEW:
            return self._line[1]
        self._calls += 1
        return self.interpreter


class BatchReplay:
    """Executes a graph for many q at once, through `torch.func.vmap`; without guards.

    Args:
        graph: as `capture` or `double` made it.

    Example:
        >>> from sursum.compiler.capture.capture import capture
        >>> points = torch.ones(2).double(), torch.zeros(2).double()
        >>> replay = BatchReplay(capture(lambda q: (q.exp(),), points, gradient=False))
        >>> replay(torch.zeros(3, 2).double())[0].shape
        torch.Size([3, 2])
    """

    def __init__(self, graph: Graph) -> None:
        self._one = Replay(graph, guards=False)
        self._run = straight_line(graph, guards=False, strided=False)[1]

    def __call__(self, draws: Tensor) -> tuple[Tensor, ...]:
        """Every output, of shape (N, *size), at the N rows of `draws`, float64 of shape (N, n)."""
        with torch.no_grad():
            try:
                return self.mapped(draws)
            except (RuntimeError, NotImplementedError):  # an operator that vmap cannot map
                rows = [self._one(draw) for draw in draws]
                return tuple(torch.stack(column) for column in zip(*rows, strict=True))

    def mapped(self, draws: Tensor) -> tuple[Tensor, ...]:
        """Like `__call__`, by vmap only.

        Raises:
            RuntimeError: an operator of the graph cannot be mapped.
        """
        run: Callable[[Tensor], tuple[Tensor, ...]] = lambda q: self._run(q)[1]
        outputs: tuple[Tensor, ...] = vmap(run)(draws)
        return outputs
