"""The pipeline from a function of tensors to an engine that runs it.

    function ──capture──▶ Graph ──passes──▶ Graph of doubles ──▶ replay, by torch
                                                └──build──▶ C, used once it is proved against the replay

Densities, losses of SVI, draws of sites and exported libraries use it; `Inputs` is for functions of several
tensors: coordinates, a batch of data, noise.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from sursum.common.user_frame import warn
from sursum.compiler.engine import Build, Remembered, check_engine
from sursum.compiler.graph.dce import drop_guards
from sursum.compiler.graph.graph import Graph
from sursum.compiler.graph.replay import BatchReplay, Replay
from sursum.compiler.native.library.library import NativeFunction
from sursum.compiler.native.lower.external import calls_python
from sursum.compiler.native.proof import prove
from sursum.compiler.passes import optimise
from sursum.errors import CompileError, DensityError, EngineWarning


@dataclass(frozen=True)
class Inputs:
    """Several tensors packed into the one vector that a graph is a function of: flattened and concatenated, in double.

    Example:
        >>> inputs = Inputs.like(torch.ones(2, 2), torch.tensor([3, 4]))
        >>> q = inputs.pack(torch.zeros(2, 2), torch.tensor([5, 6]))
        >>> q.tolist(), [tuple(part.shape) for part in inputs.unpack(q)]
        ([0.0, 0.0, 0.0, 0.0, 5.0, 6.0], [(2, 2), (2,)])
        >>> inputs.unpack(q)[1]
        tensor([5, 6])
    """

    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]

    @classmethod
    def like(cls, *tensors: Tensor) -> Self:
        """Inputs with the shapes and dtypes of these tensors; a float of any width is a double."""
        dtypes = (torch.float64 if tensor.is_floating_point() else tensor.dtype for tensor in tensors)
        return cls(tuple(tuple(tensor.shape) for tensor in tensors), tuple(dtypes))

    @property
    def sizes(self) -> list[int]:
        """The number of elements of each."""
        return [math.prod(shape) for shape in self.shapes]

    def pack(self, *tensors: Tensor) -> Tensor:
        """The vector, float64."""
        return torch.cat([tensor.detach().reshape(-1).to(torch.float64) for tensor in tensors])

    def unpack(self, vector: Tensor) -> list[Tensor]:
        """The tensors of a vector; floats are views of it."""
        parts = zip(vector.split(self.sizes), self.shapes, self.dtypes, strict=True)
        return [part.reshape(shape).to(dtype) for part, shape, dtype in parts]


@dataclass(frozen=True, eq=False)
class Function:
    """A captured function and its engine.

    Args:
        recorded: the graph in the program's own precision.
        graph: the same in double precision, after all passes.
        replay: `graph` run by torch.
        known: the same, with cached results.
        native: the C; None if torch runs it.

    Example:
        >>> from sursum.compiler.capture.capture import capture
        >>> points = torch.ones(2).double(), torch.zeros(2).double()
        >>> function = Function.of(capture(lambda q: (q.exp(),), points, gradient=False))
        >>> function(torch.zeros(2).double())
        (tensor([1., 1.], dtype=torch.float64),)
    """

    recorded: Graph
    graph: Graph
    replay: Replay
    known: Remembered
    native: NativeFunction | None = None

    def on(self, recorded: Graph) -> Function | None:
        """This function of other data: of a recording that differs in the numbers of constants alone.

        The passes, the C and its proof are these; None where one of them relies on numbers that differ.

        Raises:
            CaptureError: a check on data alone fails in double precision.
        """
        graph = self.graph
        if self.native is None or graph.folding is None:
            return None
        constants = graph.folding.again(recorded.constants)
        if not all(holds(constants) for holds in graph.assumed):
            return None
        native = self.native.on(constants)
        if native is None:
            return None
        graph = replace(graph, constants={value: constants[value] for value in graph.constants})
        return Function(recorded, graph, Replay(graph), Remembered(native.tensors), native)

    @classmethod
    def of(cls, recorded: Graph) -> Self:
        """A captured graph, run by torch.

        Raises:
            CaptureError: a check on data alone fails in double precision.
        """
        graph = optimise(recorded)
        replay = Replay(graph)
        return cls(recorded, graph, replay, Remembered(replay))

    @property
    def engine(self) -> str:
        """The engine: "native" or "torch"."""
        return "torch" if self.native is None else "native"

    def __call__(self, q: Tensor) -> tuple[Tensor, ...]:
        """The outputs at q, float64 of shape (n,), by the fastest available engine."""
        if self.native is None:
            return self.replay(q)
        return self.native.tensors(q)

    def compiled(
        self,
        engine: str | None,
        *,
        title: str,
        outputs: Sequence[str],
        proofs: Iterable[Tensor],
        check: Callable[[], None] = lambda: None,
    ) -> Self:
        """This function in C, proved; or unchanged, with a warning, if torch must run it.

        Args:
            engine: "torch", "native" (without fallback), or None for the fastest available.
            title: the title in the C source.
            outputs: the name of each output in messages.
            proofs: points at which the C is compared with the replay, most of them not those of the capture.
            check: compares the graph with the program, while the C compiler runs.

        Raises:
            CompileError: the native engine was requested but is not available.

        Warns:
            EngineWarning: it cannot be compiled to C.
        """
        check_engine(engine)
        if engine == "torch" or (engine is None and calls_python(self.graph)):
            check()
            return self
        with Build(self.graph, title) as building:  # the C compiler runs in parallel to what follows
            points = list(proofs)
            self.known.foresee(self.graph, points)
            check()
            for q in points:
                with contextlib.suppress(DensityError, torch.linalg.LinAlgError):  # a check fails there
                    self.known(q)
        try:
            native = building.result()
            prove(native, self.replay, points, outputs, known=self.known)
        except CompileError as error:
            if engine == "native":
                raise
            warn(f"the torch engine runs {title}, many times slower than C would: {error}", EngineWarning)
            return self
        return replace(self, native=native)


def batch(recorded: Graph) -> BatchReplay:
    """A captured graph evaluated at many points at once, at which its checks are known to hold."""
    return BatchReplay(optimise(drop_guards(recorded)))
