"""`CompiledDensity`: a log density in double precision, ready to be called a million times."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.gc_pause import pause_collection
from sursum.common.progress import SOON, display_for, waiting
from sursum.compiler.benchmark import Benchmark, benchmark
from sursum.compiler.build_density import Built, Sites, build_density
from sursum.compiler.check.gradient import GradientCheck, check_gradient, warn_of_gradient
from sursum.compiler.check.points import far_points
from sursum.compiler.eager import run_eagerly, stack_rows
from sursum.compiler.export.export import export
from sursum.compiler.function import Function
from sursum.compiler.graph.graph import Graph
from sursum.compiler.graph.replay import Replay
from sursum.compiler.native.library.library import Instance, NativeFunction
from sursum.compiler.scan import rolled
from sursum.core.calling import as_whole, layers, refuse_shadowed
from sursum.density.log_density import LogDensity
from sursum.errors import CompileError, DensityError

Array = NDArray[np.float64]

_ELEMENTS = 1 << 21
"""Numbers that the largest tensor may have when sites are computed at many draws at once."""


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
        q = self._check_point(q)
        if self.native is not None:
            return self.native.value_and_grad(q)
        value, gradient = self._run(torch.from_numpy(q))
        return float(value), gradient.numpy()

    def _check_point(self, q: Array) -> Array:
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
        return self._in_c().source

    @property
    def address(self) -> int:
        """The address of ``int64_t f(size_t n, const double *q, double *gradient, double *value, void *user_data)``.

        It returns 0, or a positive number where the log density or its gradient is not finite; `user_data` is the
        `pointer` of an `instance()`, one for each thread.

        Raises:
            CompileError: the density is run by a different engine.
        """
        return self._in_c().address

    @property
    def copy_address(self) -> int:
        """The address of ``int64_t f(size_t n, size_t n, const double *q, double *out, void *user_data)``, which copies q.

        Samplers that store the result of such a function need no Python for it.

        Raises:
            CompileError: the density is run by a different engine.
        """
        return self._in_c().copy_address

    def instance(self) -> Instance:
        """Data and workspace for another thread that calls `address`."""
        return self._in_c().instance()

    def _in_c(self) -> NativeFunction:
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
        chunks = [run(chunk) for chunk in rows.split(max(1, _ELEMENTS // self._largest))]
        if len(chunks) == 1:
            return dict(zip(names, chunks[0], strict=True))
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
        self._in_c()
        if self.graph is not None:
            export(self.density, self.graph, self.points, self.value_and_grad, Path(path), march)

    def with_data(self, *args: Any, **kwargs: Any) -> CompiledDensity:
        """The density of the same program on different data."""
        return compile_density(self.density.with_data(*args, **kwargs), self.engine)

    @cached_property
    def _run(self) -> Callable[[Tensor], tuple[Tensor, ...]]:
        return run_eagerly(self.density) if self.replay is None else self.replay

    @cached_property
    def _largest(self) -> int:
        """The number of elements of the largest value on the way to the sites of one draw."""
        values = {} if self.sites is None else self.sites.graph.values
        return max((value.numel for value in values.values()), default=_ELEMENTS // 1000)

    @cached_property
    def _transform(self) -> tuple[Sequence[str], Callable[[Tensor], tuple[Tensor, ...]]]:
        """The sites' names, and the function that computes them for a batch of draws."""
        if self.sites is not None:
            return self.sites.names, self.sites.run
        names = list(self.density.transform(self.points[0].clone()))
        return names, lambda rows: stack_rows([tuple(self.density.transform(row).values()) for row in rows])


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
    model = getattr(density, "model", None)
    own = next((one for one in layers(model) if hasattr(one, "compile_density")), None)
    with as_whole(model):
        found: CompiledDensity = compile_whole(density, engine) if own is None else own.compile_density(density, engine)
    return found


def _of(built: Built) -> CompiledDensity:
    return CompiledDensity(built.density, built.function, built.points, built.sites)


@pause_collection()
def compile_whole(density: LogDensity, engine: str | None = None) -> CompiledDensity:
    """`compile_density` of a program as one graph."""
    built = build_density(density, engine)
    compiled = _of(built)
    points = compiled.points
    far = [q for q in far_points(points[0]) if not torch.equal(q, points[1])]
    # Where C is fast there are more.
    looked = {"native": (*points, *far[:2]), "torch": (points[0], far[0]), "eager": points}[compiled.engine]
    warn_of_gradient(density, compiled.value_and_grad, compiled._run, looked, built.known)
    return compiled


@pause_collection()
def compile(
    model: Callable[..., Any], /, *args: Any, engine: str | None = None, progress: bool | None = None, **kwargs: Any
) -> CompiledDensity:
    """The compiled log density of ``model(*args, **kwargs)``; see `CompiledDensity`.

    Args:
        model: the program.
        args, kwargs: its arguments.
        engine: "torch", "native", or None for the fastest available; "eager" runs the program itself for every gradient, also
            one that branches on a value, and is many times slower.
        progress: whether to show the seconds of a compilation that takes more than two; None shows them on a terminal or in a
            notebook.

    Raises:
        OptionError: the program has a parameter that is called `engine` or `progress`.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> su.compile(lambda: su.sample("z", dist.Normal(0.0, 1.0))).dim
        1
    """
    refuse_shadowed(model, "compile", ["engine", "progress"])
    with waiting("compiling", display_for(progress, SOON)):
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
    return _of(build_density(LogDensity(rolled(model), args, kwargs), None)).check()
