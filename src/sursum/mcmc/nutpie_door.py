"""The adapter to nutpie, and the only file that calls it: from a log density and a start to a running chain.

nutpie's public entry takes a Python function. Its raw entry takes the address of a C function, which its Rust threads
call without Python; it is private, so `tests/mcmc/test_nutpie_door.py` checks what is used here, and the public entry is the
fallback. The C functions, as in nutpie's own compiled models:

    int64_t log_density(uint64_t n, const double *q, double *gradient, double *value, void *instance);
    int64_t copy(uint64_t n, uint64_t n_again, const double *q, double *out, void *instance);

Both return 0; a positive number from the first means a log density that is not finite (the step diverges and the chain
continues), a negative one stops the chain. `copy` writes q to `out`, which nutpie stores, once per draw.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.metadata
import importlib.util
import inspect
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sursum.common.user_frame import warn
from sursum.draws.arviz import ARVIZ_NOTICE
from sursum.errors import EngineWarning, SamplingError, StorageError
from sursum.mcmc.spool import STATS, Block, Spool, to_signed

Array = NDArray[np.float64]

REFRESH = 200
"""Milliseconds between progress reports."""

# nutpie formats its progress by a template; this one gives a line of numbers.
_TEMPLATE = (
    "{% for chain in chains %}{{ chain.finished_draws }} {{ chain.divergences }} {{ chain.total_num_steps }} "
    "{{ chain.step_size }} {{ chain.tuning }}{% endfor %}"
)

_COPY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class Density(Protocol):
    """What a chain needs of a compiled density."""

    @property
    def dim(self) -> int: ...

    @property
    def engine(self) -> str: ...

    def value_and_grad(self, q: Array, /) -> tuple[float, Array]: ...


@dataclass(frozen=True)
class Settings:
    """How a chain is sampled: the settings of `NUTS` and `MCMC` that reach nutpie."""

    num_warmup: int
    num_samples: int
    target_accept: float
    max_tree_depth: int
    low_rank: bool


@dataclass
class Progress:
    """The progress of a chain. Divergences are those after the warm-up."""

    draws: int = 0
    divergences: int = 0
    steps: int = 0
    step_size: float = 0.0
    warming: bool = True

    def read(self, line: str) -> None:
        """Parse a line formatted by `_TEMPLATE`."""
        draws, divergences, steps, step_size, warming = line.split()
        self.draws, self.divergences, self.steps = int(draws), int(divergences), int(steps)
        self.step_size, self.warming = float(step_size), warming == "true"


@dataclass(frozen=True)
class ChainTrace:
    """The draws of a chain, warm-up first: q (draw, n), statistics (draw,), and the number of warm-up draws."""

    unconstrained: Array
    stats: Mapping[str, NDArray[Any]]
    num_warmup: int


Drawn = TypeVar("Drawn", ChainTrace, Block)


@dataclass
class Chain:
    """A chain that runs in nutpie's threads. Its methods are not thread-safe: nutpie's sampler must not be shared.

    With a `spool` nutpie writes the draws there, and keeps none in memory. `outward` maps the sampled points to the
    requested coordinates.
    """

    sampler: Any
    scored: Scored | None
    progress: Progress
    spool: Spool | None = None
    outward: Callable[[Array], Array] | None = None
    _trace: ChainTrace | None = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)

    def finished(self) -> bool:
        """Whether it has drawn everything; waits about a millisecond, without the GIL.

        Raises:
            BaseException: the original exception of the log density.
            SamplingError: nutpie stopped the chain.
        """
        self._raise()
        try:
            # nutpie 0.16.8 says "not yet" by a TimeoutError.
            return bool(self.sampler.is_finished)
        except TimeoutError:
            return False
        except BaseException as error:
            self._raise()
            if not _is_nutpies(error):
                raise
            cause = str(error).split("Stack backtrace", 1)[0].strip()
            # Rust says "(os error 28)" where the file system refuses.
            if self.spool is not None and ("os error" in cause or not self.spool.path.exists()):
                raise StorageError(
                    f"a chain failed, since its draws could not be written: {cause}. A writable folder on a "
                    f"disk with free space was expected at {str(self.spool.path)!r}. The draws stored so far can be loaded."
                ) from error
            raise SamplingError(
                f"a chain failed: {cause}. If the log density is compiled, run again with `engine='torch'`, and report it."
            ) from error

    def pause(self) -> None:
        """Pause after the current draw."""
        if not self._ended:
            self.sampler.pause()

    def resume(self) -> None:
        """Continue after `pause`."""
        if not self._ended:
            self.sampler.resume()

    def stop(self) -> None:
        """Stop after the current draw; the draws so far are kept."""
        self._raise()
        if not self._ended:
            self._end(self.sampler.abort())

    def cancel(self) -> None:
        """Stop and discard, if its draws have not been taken: an error has already occurred."""
        if self._ended:
            return
        if self.scored is not None:
            self.scored.give_up()
        try:
            self.sampler.cancel()
        except BaseException as error:
            if not _is_nutpies(error):
                raise

    def end(self) -> None:
        """Take the draws, once the chain has finished."""
        self._raise()
        if not self._ended:
            self._end(self.sampler.wait())

    def trace(self) -> ChainTrace:
        """The draws: all of them once the chain has finished, otherwise those so far. Not for a chain with a spool."""
        self._raise()
        if not self._ended and self.finished():
            self.end()
        return self._mapped(_read(self.sampler.inspect())) if self._trace is None else self._trace

    def blocks(self, most: int | None = None) -> Iterator[Block]:
        """The draws that have arrived in the spool since the last call, in at most so many blocks."""
        if self.spool is not None:
            for block in self.spool.take(None if self._ended else self.sampler._sampler.flush, most):
                yield self._mapped(block)

    def waiting(self) -> int:
        """About how many draws are in the spool."""
        return 0 if self.spool is None else self.spool.waiting()

    def _mapped(self, drawn: Drawn) -> Drawn:
        return drawn if self.outward is None else replace(drawn, unconstrained=self.outward(drawn.unconstrained))

    def _end(self, results: Any) -> None:
        if self.spool is None:
            self._trace = trace = self._mapped(_read(results))
            # The last progress report may be older than the last draw; a short chain may have none.
            last, after = self.progress, slice(trace.num_warmup, None)
            last.draws, last.warming = len(trace.unconstrained), len(trace.unconstrained) <= trace.num_warmup
            last.divergences, last.steps = int(trace.stats["diverging"][after].sum()), int(trace.stats["n_steps"].sum())
            if len(trace.unconstrained):
                last.step_size = float(trace.stats["step_size"][-1])
        self._ended = True

    def _raise(self) -> None:
        if self.scored is not None and self.scored.error is not None:
            raise self.scored.error


@dataclass(eq=False)
class Scored:
    """A log density that nutpie can call from its threads: it never raises.

    An exception there would end the worker by a Rust panic. It is kept instead, and the chain, which from
    then on only diverges, is stopped by its supervisor.
    """

    value_and_grad: Callable[[Array], tuple[float, Array]]
    error: BaseException | None = field(default=None, init=False)
    _given_up: bool = field(default=False, init=False)

    def __call__(self, q: Array) -> tuple[float, Array]:
        if self.error is None and not self._given_up:
            try:
                value, gradient = self.value_and_grad(q)
                if math.isfinite(value) and np.isfinite(gradient).all():
                    return float(value), np.ascontiguousarray(gradient, dtype=np.float64)
            except BaseException as error:
                self.error = error
        return -math.inf, np.zeros_like(q)

    def give_up(self) -> None:
        self._given_up = True


def start_chain(
    density: Density, start: Array, seed: int, settings: Settings, *, watched: bool, spool: Path | None = None
) -> Chain:
    """Start a chain exactly at `start`: no jitter is added.

    Args:
        density: called by address if `density.engine` is "native", otherwise through Python.
        start: float64 (n,), where value and gradient are finite and no component of the gradient is zero.
        seed: 64 bits.
        watched: keep `Chain.progress` up to date.
        spool: an empty folder, to which nutpie writes the draws instead of keeping them in memory.
    """
    progress = Progress()
    if density.engine == "native":
        try:
            model = native_model(density, start)
            sampler = model.sampler(seed, settings, progress if watched else None, spool)
            return Chain(sampler, None, progress, None if spool is None else Spool(spool))
        except (ImportError, AttributeError, TypeError) as error:
            warn(
                f"nutpie {_version()} does not have the raw entry that was expected ({error}), so chains "
                "call the compiled density through Python, which is slower. Install a version of nutpie that "
                "sursum's requirements allow.",
                EngineWarning,
            )
    slow, scored = python_model(density, start)
    sampler = _nutpie().sample(
        _Watched(slow, density.dim, progress) if watched else slow,
        draws=settings.num_samples,
        tune=settings.num_warmup,
        chains=1,
        cores=1,
        seed=seed,
        blocking=False,
        progress_bar=False,
        return_raw_trace=True,
        **(_low_rank() if settings.low_rank else {}),
        maxdepth=settings.max_tree_depth,
        target_accept=settings.target_accept,
        zarr_store=None if spool is None else _nutpie().zarr_store.LocalStore(prefix=str(spool)),
    )
    return Chain(sampler, scored, progress, None if spool is None else Spool(spool))


def _low_rank() -> dict[str, Any]:
    """The option of `nutpie.sample` for the low-rank metric; 0.16.11 has another name for it."""
    named = inspect.signature(_nutpie().sample).parameters
    return {"adaptation": "low_rank"} if "adaptation" in named else {"low_rank_modified_mass_matrix": True}


def raw_entry() -> str:
    """What is missing in nutpie's raw entry; empty if it is complete."""
    found = _nutpie()._lib
    return ", ".join(
        name for name in ("LogpFunc", "ExpandFunc", "PyVariable", "PyMcModel", "PySampler") if not hasattr(found, name)
    )


def python_model(density: Density, start: Array) -> tuple[Any, Scored]:
    """The density for nutpie's public entry, and the function that nutpie calls."""
    scored = Scored(density.value_and_grad)
    model = _nutpie().compiled_pyfunc.from_pyfunc(
        ndim=density.dim,
        make_logp_fn=lambda: scored,
        make_expand_fn=lambda *_: lambda q: {"q": q},
        expanded_dtypes=[np.dtype(np.float64)],
        expanded_shapes=[(density.dim,)],
        expanded_names=["q"],
        make_initial_point_fn=lambda _: start,
    )
    return model, scored


def native_model(density: Any, start: Array) -> NativeModel:
    """The density for nutpie's raw entry.

    Besides `dim` the density has `address`, that of its C function, and `instance()`, a fresh object whose `pointer`
    is passed to it (data and workspace of one chain). If it has a `copy_address`, that C function copies the draws; otherwise
    a Python callback does, about 20 µs each.
    """
    instance = density.instance()
    copy = getattr(density, "copy_address", None)
    called_back = None
    if copy is None:
        called_back = _COPY(_copy)
        copy = ctypes.cast(called_back, ctypes.c_void_p).value or 0
    keep_alive = (density, instance, called_back)
    return NativeModel(density.dim, density.address, copy, instance.pointer, start, keep_alive)


@dataclass(frozen=True, eq=False)
class NativeModel:
    """C functions as a nutpie model; built completely at once, so that an incompatible raw entry fails here."""

    n_dim: int
    address: int
    copy_address: int
    instance: int
    start: Array
    keep_alive: Any
    _raw: Any = field(init=False)

    def __post_init__(self) -> None:
        lib = _lib()
        sizes: dict[str, int] = {}  # filled by `new_variables`, read by `PyMcModel`
        variables = lib.PyVariable.new_variables(["q"], ["float64"], [(self.n_dim,)], sizes, {})
        raw = lib.PyMcModel(
            lib.LogpFunc(self.address, self.instance, self.keep_alive),
            lib.ExpandFunc(self.n_dim, self.n_dim, self.copy_address, self.instance, self.keep_alive),
            variables,
            self.n_dim,
            sizes,
            {},
            lambda _: self.start,
            None,
        )
        object.__setattr__(self, "_raw", raw)

    def sampler(self, seed: int, settings: Settings, progress: Progress | None, spool: Path | None) -> NativeSampler:
        """A running sampler of one chain, as `nutpie.sample` would start it."""
        lib = _lib()
        found = (lib.PyNutsSettings.LowRank if settings.low_rank else lib.PyNutsSettings.Diag)(seed)
        found.num_tune, found.num_draws, found.num_chains = settings.num_warmup, settings.num_samples, 1
        found.maxdepth, found.target_accept = settings.max_tree_depth, settings.target_accept
        kind = _reporting(progress, 1, lib.ProgressType.none())
        storage = lib.PyStorage.arrow() if spool is None else lib.PyStorage.zarr(lib.store.LocalStore(prefix=str(spool)))
        try:
            return NativeSampler(lib.PySampler.from_pymc(found, 1, self._raw, kind, storage))
        except TypeError:
            # nutpie 0.16.11, for Python 3.12 and newer, takes a further callback, and how often to call it, before the storage.
            return NativeSampler(lib.PySampler.from_pymc(found, 1, self._raw, kind, None, REFRESH, storage))


@dataclass(frozen=True, eq=False)
class NativeSampler:
    """A running sampler of nutpie's raw entry, with the methods of the one that `nutpie.sample` returns."""

    _sampler: Any

    @property
    def is_finished(self) -> bool:
        """Whether it has drawn everything."""
        return bool(self._sampler.is_finished())

    def wait(self) -> Any:
        """The draws, once it has finished."""
        self._sampler.wait(None)
        return self._sampler.take_results()

    def abort(self) -> Any:
        """Stop after the current draw, and return the draws."""
        self._sampler.abort()
        return self._sampler.take_results()

    def cancel(self) -> None:
        """Stop and discard."""
        self._sampler.abort()

    def inspect(self) -> Any:
        """The draws so far."""
        return self._sampler.inspect()

    def pause(self) -> None:
        """Pause after the current draw."""
        self._sampler.pause()

    def resume(self) -> None:
        """Go on."""
        self._sampler.resume()

    def __del__(self) -> None:
        if not self._sampler.is_empty(ignore_error=True):
            self._sampler.abort()


@dataclass(frozen=True, eq=False)
class _Watched:
    """A model whose sampler reports to `progress`, if nutpie supports it."""

    model: Any
    n_dim: int
    progress: Progress
    coords: Mapping[str, Any] = field(default_factory=dict, init=False)

    def _make_sampler(self, settings: Any, init_mean: Any, cores: int, progress_type: Any, *rest: Any) -> Any:
        # Versions differ in the `rest`, whose last element is the storage.
        kind = _reporting(self.progress, cores, progress_type)
        return self.model._make_sampler(settings, init_mean, cores, kind, *rest)


def _reporting(progress: Progress | None, cores: int, silent: Any) -> Any:
    """How a sampler reports to `progress`, if nutpie supports it; otherwise `silent`."""
    try:
        return silent if progress is None else _lib().ProgressType.template_callback(REFRESH, _TEMPLATE, cores, progress.read)
    except (AttributeError, TypeError):
        return silent


def _read(results: Any) -> ChainTrace:
    """Convert nutpie's Arrow tables of one chain to arrays."""
    from arro3.core import list_flatten  # nutpie's own; a conversion by pyarrow would import pandas

    (draws,), (stats,) = results.get_arrow_trace()
    arrays = {ours: to_signed(np.array(stats.column(theirs).to_numpy())) for theirs, ours in STATS.items()}
    flat = np.array(list_flatten(draws.column("q")).to_numpy(), dtype=np.float64)
    unconstrained = flat.reshape(draws.num_rows, flat.size // max(draws.num_rows, 1))
    return ChainTrace(unconstrained, arrays, int(arrays["tuning"].sum()))


def _copy(n: int, _: int, q: int, out: int, __: int) -> int:
    ctypes.memmove(out, q, 8 * n)
    return 0


def _is_nutpies(error: BaseException) -> bool:
    """Whether `error` can come from nutpie's Rust code: an error, or a panic, whose class can't be imported."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _nutpie() -> Any:
    """The package, which takes seconds to import, and which imports ArviZ."""
    with nullcontext() if "nutpie" in sys.modules else warnings.catch_warnings():
        if "nutpie" not in sys.modules:
            # ArviZ 0.x announces 1.x on every import.
            warnings.filterwarnings("ignore", message=ARVIZ_NOTICE, category=FutureWarning)
        import nutpie  # type: ignore[import-untyped]
    return nutpie


def _lib() -> Any:
    """The package's extension module alone: importing the package takes seconds, nearly all for ArviZ and pandas.

    It is put into `sys.modules` under its own name, so that a later import of the package uses the same module.
    """
    name = "nutpie._lib"
    if name not in sys.modules:
        package = importlib.util.find_spec("nutpie")
        places = package.submodule_search_locations if package is not None else None
        spec = importlib.machinery.PathFinder.find_spec(name, places) if places is not None else None
        if spec is None or spec.loader is None:
            return _nutpie()._lib
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules.setdefault(name, module)
    return sys.modules[name]


def _version() -> str:
    """nutpie's version."""
    return importlib.metadata.version("nutpie")
