"""`CompiledDensity`: a log density in double precision, ready to be called a million times."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.gc_pause import pause_collection
from sursum.common.precision import enforce_double
from sursum.common.user_frame import warn
from sursum.compiler.benchmark import Benchmark, benchmark
from sursum.compiler.capture.capture import Beside, Capture
from sursum.compiler.capture.derivatives import ExactDerivatives
from sursum.compiler.capture.loop_warning import note_long_loops
from sursum.compiler.capture.purity import check_pure
from sursum.compiler.check.faithful import check_again, check_faithful, check_seen, check_unseen
from sursum.compiler.check.gradient import GradientCheck, check_gradient, warn_of_gradient
from sursum.compiler.check.points import WIDE, far_points, nearby_points, points_of, proof_points
from sursum.compiler.engine import DENSITY_ENGINES, Remembered, check_engine
from sursum.compiler.export.export import export
from sursum.compiler.function import Function, batch
from sursum.compiler.graph.assumption import same_bits
from sursum.compiler.graph.dce import drop_guards
from sursum.compiler.graph.graph import Graph
from sursum.compiler.graph.replay import Replay
from sursum.compiler.native.library.library import Instance, NativeFunction
from sursum.compiler.recent import RECENT
from sursum.compiler.scan import rolled
from sursum.core.calling import layers, refuse_shadowed
from sursum.density.log_density import LogDensity
from sursum.errors import ArgumentError, CompileError, DensityError, EngineWarning, ObservationError, UncapturableError

Array = NDArray[np.float64]

_CHUNK = 1000


@dataclass(frozen=True)
class Sites:
    """The values of latent and deterministic sites as a graph, captured with the density: of one state of the data."""

    names: tuple[str, ...]
    graph: Graph

    def on(self, recorded: Graph) -> Sites:
        """The same sites of other data."""
        used = self.graph.constants
        if all(same_bits(constant, recorded.constants[value]) for value, constant in used.items()):
            return self
        return Sites(self.names, replace(self.graph, constants={value: recorded.constants[value] for value in used}))

    @cached_property
    def run(self) -> Callable[[Tensor], tuple[Tensor, ...]]:
        """The values at a batch of points."""
        return batch(self.graph)


@dataclass(frozen=True, repr=False)
class CompiledDensity:
    """The log density of a program, captured as a graph and run by an engine.

    `engine` is "native" (the graph in C, see `source`), "torch" (the graph replayed in double precision) or, if that is asked
    for or the program has tensors that a capture does not support, "eager" (the program itself, handlers and all).

    Example:
        >>> import sursum as su, sursum.distributions as dist, numpy as np
        >>> density = su.compile(lambda: su.sample("z", dist.Normal(0.0, 1.0)))
        >>> value, gradient = density.value_and_grad(np.array([2.0]))
        >>> round(value, 4), gradient.tolist()
        (-2.9189, [-2.0])
    """

    density: LogDensity
    function: Function | None
    points: tuple[Tensor, Tensor]
    sites: Sites | None

    def __repr__(self) -> str:
        sites = ", ".join(latent.name for latent in self.density.latents)
        return f"<CompiledDensity of {self.density.title}: {self.dim} unknowns ({sites}), {self.engine} engine>"

    @property
    def dim(self) -> int:
        """n, the number of unconstrained coordinates."""
        return self.density.dim

    @property
    def engine(self) -> str:
        """The engine: "native", "torch" or "eager"."""
        return "eager" if self.function is None else self.function.engine

    @property
    def graph(self) -> Graph | None:
        """The log density and its gradient, in double precision."""
        return None if self.function is None else self.function.graph

    @property
    def replay(self) -> Replay | None:
        """The graph run by torch."""
        return None if self.function is None else self.function.replay

    @property
    def native(self) -> NativeFunction | None:
        """The graph in C."""
        return None if self.function is None else self.function.native

    def value_and_grad(self, q: Array) -> tuple[float, Array]:
        """Log density and gradient at q, float64 of shape (n,); −∞ and zeros where a check of the program fails.

        Any thread may call this.

        Raises:
            DensityError: `q` is not an array of n real numbers.
        """
        q = self._checked(q)
        if self.native is not None:
            return self.native.value_and_grad(q)
        value, gradient = self._run(torch.from_numpy(q))
        return float(value), gradient.numpy()

    def _checked(self, q: Array) -> Array:
        try:
            q = np.ascontiguousarray(q.detach() if isinstance(q, Tensor) else q)
            if q.dtype.kind not in "fiub":
                raise TypeError(f"its elements are of {q.dtype}")
        except (TypeError, ValueError, RuntimeError) as error:
            raise DensityError(f"q must be an array of {self.dim} real numbers, and is not: {error}.") from error
        q = q.astype(np.float64, copy=False)
        if q.shape != (self.dim,):
            raise DensityError(f"the density has {self.dim} unconstrained coordinates, and q has shape {q.shape}.")
        return q

    @property
    def source(self) -> str:
        """The C of the native engine.

        Raises:
            CompileError: the density is run by a different engine.
        """
        return self._compiled().source

    @property
    def address(self) -> int:
        """The address of ``int64_t f(size_t n, const double *q, double *gradient, double *value, void *user_data)``.

        It returns 0, or a positive number where the log density or its gradient is not finite; `user_data` is the
        `pointer` of an `instance()`, one for each thread.

        Raises:
            CompileError: the density is run by a different engine.
        """
        return self._compiled().address

    @property
    def copy_address(self) -> int:
        """The address of ``int64_t f(size_t n, size_t n, const double *q, double *out, void *user_data)``, which copies q.

        Samplers that store the result of such a function need no Python for it.

        Raises:
            CompileError: the density is run by a different engine.
        """
        return self._compiled().copy_address

    def instance(self) -> Instance:
        """Data and workspace for another thread that calls `address`."""
        return self._compiled().instance()

    def _compiled(self) -> NativeFunction:
        if self.native is None:
            raise CompileError(
                f"this density is run by the {self.engine} engine and has no C. "
                "Ask for engine='native' to see why it could not be compiled."
            )
        return self.native

    def unravel(self, q: Array) -> dict[str, Tensor]:
        """The constrained values of the latent sites at q, by name."""
        values = self.expand(np.asarray(q, dtype=np.float64)[None])
        return {latent.name: values[latent.name][0] for latent in self.density.latents}

    def expand(self, draws: Array) -> dict[str, Tensor]:
        """Latent and deterministic sites at draws (N, n): float64 tensors of shape (N, *shape of the site)."""
        rows = torch.from_numpy(np.ascontiguousarray(draws, dtype=np.float64))
        names, run = self._transform
        chunks = [run(chunk) for chunk in rows.split(_CHUNK)]
        return {name: torch.cat(column) for name, column in zip(names, zip(*chunks, strict=True), strict=True)}

    def check(self, at: Array | None = None) -> GradientCheck:
        r"""Compare the gradient with differences of the log density f, site by site.

        .. math:: v \cdot \nabla f(q) = \lim_{h \to 0} \frac{f(q + h v) - f(q - h v)}{2 h}

        for random directions v of each site's coordinates (always the same ones). torch believes what it is told about
        derivatives: a `torch.autograd.Function` with a wrong `backward`, a hook on a tensor, a straight-through estimator and
        `detach` give a gradient that is not the derivative. Every compilation checks all sites together, and warns. Where
        rounding, kinks or steps explain a difference, the gradient is not reported as wrong.

        Args:
            at: points q, float64 of shape (N, n) or (n,); by default some of those of the capture, and some others.

        Raises:
            DensityError: points with the wrong shape; the density is not finite at any of them.

        Example:
            >>> import sursum as su, sursum.distributions as dist
            >>> density = su.compile(lambda: su.factor("f", -su.sample("z", dist.Normal(0.0, 1.0)) ** 2))
            >>> found = density.check()
            >>> found.passed(), found.rows[0].site, found.rows[0].error < 1e-6
            (True, 'z', True)
        """
        if at is None:
            far = far_points(self.points[0])
            points = [q.numpy() for q in ((*self.points, *far) if self.engine == "native" else (self.points[0], far[0]))]
        else:
            points = list(np.atleast_2d(np.asarray(at)))
        return check_gradient(self.density, self.value_and_grad, self._run, points)

    def benchmark(self) -> Benchmark:
        """Time a value and gradient at a starting point, and forecast the time of a run; takes half a second.

        Example:
            >>> import sursum as su, sursum.distributions as dist
            >>> found = su.compile(lambda: su.sample("z", dist.Normal(0.0, 1.0))).benchmark()
            >>> found.microseconds > 0, found.forecast(num_chains=2, num_samples=500) > 0
            (True, True)
        """
        return benchmark(self.engine, self.dim, self.native, self.value_and_grad, self.points[0].numpy())

    def export(self, path: str | os.PathLike[str], *, march: str = "native") -> None:
        """Write the density as a library that needs no Python, together with its C source (``model.so``, ``model.c``).

        The library contains the data and implements BridgeStan's C interface, so that R, Julia, Rust, C, the `bridgestan`
        package and nutpie can load it: log density, gradient, Hessian (by differences), and the maps between constrained
        and unconstrained values. Deterministic sites are its transformed parameters. Names of sites become identifiers
        (``net.0.weight`` is ``net_0_weight``), elements count from 1, the first index moving fastest.

        Args:
            path: the path of the library.
            march: the target processors, as the compiler's ``-march`` takes it, e.g. ``"x86-64-v3"``.

        Raises:
            CompileError: another engine runs this density; no compiler; a routine of LAPACK without a stand-in; a path
                that cannot be written.

        References:
            Roualdes, Ward, Carpenter, Seyboldt, Axen, "BridgeStan: efficient in-memory access to the methods of a Stan
            model" (2023).

        Example:
            >>> import sursum as su, sursum.distributions as dist, tempfile, pathlib
            >>> density = su.compile(lambda: su.sample("z", dist.Normal(0.0, 1.0)))
            >>> with tempfile.TemporaryDirectory() as directory:
            ...     density.export(f"{directory}/normal.so")
            ...     sorted(path.name for path in pathlib.Path(directory).iterdir())
            ['normal.c', 'normal.so']
        """
        self._compiled()
        if self.graph is not None:
            export(self.density, self.graph, self.points, self.value_and_grad, Path(path), march)

    def with_data(self, *args: Any, **kwargs: Any) -> CompiledDensity:
        """The density of the same program on different data."""
        return compile_density(self.density.with_data(*args, **kwargs), self.engine)

    @cached_property
    def _run(self) -> Callable[[Tensor], tuple[Tensor, ...]]:
        return _eager(self.density) if self.replay is None else self.replay

    @cached_property
    def _transform(self) -> tuple[Sequence[str], Callable[[Tensor], tuple[Tensor, ...]]]:
        """The sites' names, and the function that computes them for a batch of draws."""
        if self.sites is not None:
            return self.sites.names, self.sites.run
        names = list(self.density.transform(self.points[0].clone()))
        return names, lambda rows: _stack([tuple(self.density.transform(row).values()) for row in rows])


def compile_density(density: LogDensity, engine: str | None = None) -> CompiledDensity:
    """Capture `density` and make it ready to run. A scan of its program stays a loop.

    A program with a way of its own to be compiled, such as one that is sharded, is compiled in that way.

    Args:
        density: the log density of a program.
        engine: "torch", "native", "eager", or None for the fastest available that captures the program.

    Raises:
        BranchError, EscapeError, CaptureError: the program is not a fixed graph of operators.
        DensityError: the program cannot be run anywhere near its initial values.

    Warns:
        EngineWarning: the program has tensors that a capture does not support.
        GradientWarning: the gradient is not the derivative; see `CompiledDensity.check`.
    """
    own = next((one for one in layers(getattr(density, "model", None)) if hasattr(one, "compile_density")), None)
    found: CompiledDensity = compile_whole(density, engine) if own is None else own.compile_density(density, engine)
    return found


@pause_collection()
def compile_whole(density: LogDensity, engine: str | None = None) -> CompiledDensity:
    """`compile_density` of a program as one graph."""
    compiled, known = _compile(density, engine)
    points, far = compiled.points, far_points(compiled.points[0])
    # Where C is fast there are more.
    looked = {"native": (*points, *far[:2]), "torch": (points[0], far[0]), "eager": points}[compiled.engine]
    warn_of_gradient(density, compiled.value_and_grad, compiled._run, looked, known)
    return compiled


def _compile(density: LogDensity, engine: str | None) -> tuple[CompiledDensity, Remembered]:
    """The density, and the results of its torch engine, cached for the points of the capture and others."""
    check_engine(engine, engines=DENSITY_ENGINES)
    if isinstance(density, LogDensity) and not isinstance(density.model, rolled):
        density = density.under(rolled)
    if engine == "eager":
        compiled, took = _run_by_python(density)
        warn(
            f"engine='eager' runs the program by Python for every gradient, {took} each, where C takes microseconds; a draw "
            "takes ten gradients or more.",
            EngineWarning,
        )
        return compiled, Remembered(compiled._run)
    names: list[str] = []

    def evaluate(q: Tensor) -> Beside:
        value, sites = density.with_values(q)
        names[:] = sites
        return Beside(value, tuple(sites.values()))

    earlier: tuple[Function, Sites] | None = None

    def is_known(graph: Graph) -> bool:
        nonlocal earlier
        earlier = None if density.exit is not None or engine == "torch" else _again(graph, (density.title, *names))
        return earlier is not None

    try:
        points, program = _captured(density, evaluate, is_known)
        if earlier is not None and len(program.found) == 1:
            function, sites = earlier
            others = [far_points(points[0])[-1], points[1]]
            check_again(function.recorded, function.known, _gradient(density), (points[0], program.found[0]), others)
            note_long_loops(function.graph)
            return CompiledDensity(density, function, points, sites), function.known
        function = Function.of(replace(program.graph, outputs=program.graph.outputs[:2]))
    except UncapturableError as error:
        if engine is not None:
            raise
        compiled, took = _run_by_python(density)
        warn(f"the program is run by Python for every gradient, {took} each, which is slow: {error}", EngineWarning)
        return compiled, Remembered(compiled._run)
    note_long_loops(function.graph)
    far = far_points(points[0])

    def check() -> None:
        if density.exit is None and not program.python_backward:
            recorded = zip(points, program.found, strict=True)
            check_seen(function.recorded, function.known, _gradient(density), _value(density), recorded, far)
        else:
            wide = far_points(points[0], WIDE) if density.exit is not None else []
            check_faithful(function.recorded, function.known, _gradient(density), points, [*far, *wide])
            check_unseen(program, wide)

    proofs = [*points, *far, *proof_points(points)]
    outputs = ("log density", "gradient")
    function = function.compiled(engine, title=density.title, outputs=outputs, proofs=proofs, check=check)
    # A guard may need the whole density: the factor of a covariance, again for each draw.
    sites = Sites(tuple(names), drop_guards(replace(program.graph, outputs=program.graph.outputs[2:])))
    if program.is_plain and density.exit is None and function.native is not None:
        RECENT.add(program.graph, (density.title, *names), (function, sites))
    return CompiledDensity(density, function, points, sites), function.known


def _again(recorded: Graph, names: tuple[str, ...]) -> tuple[Function, Sites] | None:
    """What an earlier density of the same program was compiled to, with the data of this recording."""
    known = RECENT.find(recorded, names)
    if known is None or known.has_data_of(recorded):
        return None if known is None else known.made
    function, sites = known.made
    renewed: Function | None = function.on(recorded)
    if renewed is None:
        return None
    made = renewed, sites.on(recorded)
    RECENT.add(recorded, names, made, instead=known)
    return made


def _run_by_python(density: LogDensity) -> tuple[CompiledDensity, str]:
    """The density run by the program itself, and how long a gradient takes."""
    points, run = points_of(density), _eager(density)
    check_pure(run, points)
    began = time.perf_counter()
    run(points[0])
    milliseconds = 1e3 * (time.perf_counter() - began)
    return CompiledDensity(density, None, points, None), f"{milliseconds:.2g} ms"


def _captured(
    density: LogDensity, evaluate: Callable[[Tensor], Beside], is_known: Callable[[Graph], bool]
) -> tuple[tuple[Tensor, Tensor], Capture]:
    """Two points at which the density is finite, and its capture at these; they are searched for if need be.

    A recording is a run of the program, so that a point is tried by recording there.
    """
    points = nearby_points(density)
    try:
        program = Capture(evaluate, points, gradient=True, is_known=is_known)
        if all(bool(value.isfinite()) for value, *_ in program.found):
            return points, program
    except (ArgumentError, ObservationError, ValueError, torch.linalg.LinAlgError):
        pass  # it may run elsewhere
    points = points_of(density)
    return points, Capture(evaluate, points, gradient=True)


@pause_collection()
def compile(model: Callable[..., Any], /, *args: Any, engine: str | None = None, **kwargs: Any) -> CompiledDensity:
    """The compiled log density of ``model(*args, **kwargs)``; see `CompiledDensity`.

    Args:
        model: the program.
        args, kwargs: its arguments.
        engine: "torch", "native", or None for the fastest available; "eager" runs the program itself for every gradient, also
            one that branches on a value, and is many times slower.

    Raises:
        OptionError: the program has a parameter that is called `engine`.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> su.compile(lambda: su.sample("z", dist.Normal(0.0, 1.0))).dim
        1
    """
    refuse_shadowed(model, "compile", ["engine"])
    return compile_density(LogDensity(rolled(model), args, kwargs), engine)


def check(model: Callable[..., Any], /, *args: Any, **kwargs: Any) -> GradientCheck:
    """Whether the gradient of ``model(*args, **kwargs)`` is its derivative; see `CompiledDensity.check`.

    Args:
        model: the program.
        args, kwargs: its arguments.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch, warnings
        >>> class Square(torch.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x
        ...     @staticmethod
        ...     def backward(ctx, slope):
        ...         return 3 * ctx.saved_tensors[0] * slope
        >>> found = su.check(lambda: su.factor("f", -Square.apply(su.sample("z", dist.Normal(0.0, 1.0)))))
        >>> found.passed(), found.wrong, found.causes
        (False, ('z',), ('Square',))
    """
    return _compile(LogDensity(rolled(model), args, kwargs), None)[0].check()


def _gradient(density: LogDensity) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The log density of the program itself, and its gradient by autograd."""

    def run(q: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad(), enforce_double(ExactDerivatives()):
            q = q.clone().requires_grad_()
            value = density(q)
            if not value.requires_grad:
                return value.double(), torch.zeros_like(q)
            (gradient,) = torch.autograd.grad(value, q, allow_unused=True, materialize_grads=True)
            return value.detach().double(), gradient.double()

    return run


def _value(density: LogDensity) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The log density of the program itself, without gradient."""

    def run(q: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            return density(q.clone().requires_grad_()).detach().double(), q.new_empty(0)

    return run


def _eager(density: LogDensity) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """The program itself as an engine."""
    program = _gradient(density)

    def run(q: Tensor) -> tuple[Tensor, Tensor]:
        with contextlib.suppress(ValueError, torch.linalg.LinAlgError):
            return program(q)
        return torch.tensor(-torch.inf, dtype=torch.float64), torch.zeros_like(q)

    return run


def _stack(rows: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    columns = [torch.stack(column).detach() for column in zip(*rows, strict=True)]
    return tuple(column.double() if column.is_floating_point() else column for column in columns)
