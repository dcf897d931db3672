"""Run a program at many draws: all at once where `torch.func.vmap` can map it, otherwise one after the other.

Every draw has its own random stream, so that the result depends neither on the chunk size nor on whether the program is mapped.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.overrides import TorchFunctionMode

from sursum.common.precision import caller
from sursum.common.progress import Display, NoProgress, ProgressState
from sursum.common.torch_private import TorchDispatchMode, is_all_true, is_batched, tree_leaves
from sursum.common.vmap import vmap
from sursum.core.calling import valued
from sursum.core.messages import Sample
from sursum.distributions.randomness import drawing_from
from sursum.distributions.rebuild import rebuild, tensors
from sursum.distributions.streams import counting
from sursum.errors import PredictionError

BUDGET = 1 << 26
"""Maximum bytes of the tensors of one chunk; larger chunks fall out of the caches and gain nothing."""

SILENT = NoProgress()

Draw = Callable[[Sample], Tensor]
"""Draws the value of a site."""

Run = Callable[[Mapping[str, Tensor], Draw], Mapping[str, Tensor]]
"""One execution: from the values of one draw, and a function that draws further sites, to its results."""


class Sliceable(Protocol):
    """What is needed of the draws of a site, (count, *shape): slices, as of a tensor."""

    @property
    def shape(self) -> torch.Size: ...

    def __getitem__(self, key: Any, /) -> Tensor: ...


def at_draws(
    run: Run,
    values: Mapping[str, Sliceable],
    count: int,
    *,
    seed: Sequence[int] | None = None,
    chunk: int | None = None,
    display: Display = SILENT,
) -> dict[str, Tensor]:
    """The results of `run` at each of `count` draws, stacked: tensors of shape (count, *shape).

    Args:
        run: one execution.
        values: the draws by site name, each (count, *shape).
        count: the number of draws.
        seed: the random streams, one per draw, are derived from these; may be None if nothing is drawn.
        chunk: how many draws to evaluate at once; None is as many as fit into `BUDGET`.
        display: where to show how many draws are done.

    Raises:
        PredictionError: a result whose shape differs between draws.
        Exception: any exception of `run`.
    """
    results: dict[str, Tensor] = {}
    with valued():
        for rows, piece in pieces(run, values, count, seed=seed, chunk=chunk, display=display):
            for name, value in piece.items():
                if not rows.start:
                    results[name] = value.new_empty((count, *value.shape[1:]))
                results[name][rows.start : rows.stop] = value.detach()
    return results


def pieces(
    run: Run,
    values: Mapping[str, Sliceable],
    count: int,
    *,
    seed: Sequence[int] | None = None,
    chunk: int | None = None,
    done: Sequence[int] = (0,),
    display: Display = SILENT,
) -> Iterator[tuple[range, Mapping[str, Tensor]]]:
    """The chunks of `at_draws`, one after the other: which draws, and the results of `run` there, stacked.

    The draws are those of `len(done)` chains, concatenated; the first `done[k]` draws of chain k are skipped. No chain gets
    ahead of the others by more than one chunk.
    """
    streams = np.random.SeedSequence(seed or 0).generate_state(count, np.uint64).tolist()
    each = count // len(done)
    with Meter() as meter:
        first = _single(run, {name: value[:1] for name, value in values.items()}, 0, streams[0])
    step = chunk or max(1, min(each, BUDGET // max(1, meter.bytes)))
    mapped, compared, ready = count > 1, False, 0

    def show(more: int) -> None:
        at = ready + more
        display.update(lambda: ProgressState(at, count, (f"{at}/{count} draws",)))

    def alone(k: int, part: Mapping[str, Tensor], start: int) -> Mapping[str, Tensor]:
        show(k - start)
        return first if k == 0 else _single(run, part, k - start, streams[k])

    for begin in range(0, each, step):
        for chain, had in enumerate(done):
            rows = range(chain * each + max(begin, had), chain * each + min(begin + step, each))
            if not rows:
                continue
            part = {name: value[rows.start : rows.stop] for name, value in values.items()}
            piece = _map(run, part, rows, streams) if mapped else None
            if mapped and not compared:
                # If vmap maps anything wrongly, it shows at the first draw.
                one = _single(run, part, 0, streams[rows.start]) if rows.start else first
                mapped = piece is not None and agree(one, {name: value[0] for name, value in piece.items()})
                compared = True
            if not mapped or piece is None:
                piece = _stack(first, ((k, alone(k, part, rows.start)) for k in rows))
            ready += len(rows)
            show(0)
            yield rows, piece


def _single(run: Run, values: Mapping[str, Tensor], place: int, stream: int) -> dict[str, Tensor]:
    """A single draw by itself. All randomness in it comes from its stream, including layers in training mode."""
    streams = counting([stream])

    def draw(site: Sample) -> Tensor:
        with streams:
            return _draw(site)

    with drawing_from(torch.Generator().manual_seed(stream)):  # all but the sites
        return dict(run({name: value[place] for name, value in values.items()}, draw))


def _draw(site: Sample) -> Tensor:
    """The value of a site by the mode that is active, overriding any handler in the program."""
    value: Tensor = site.but(generator=None).run().value
    return value


def _stack(first: Mapping[str, Tensor], found: Iterable[tuple[int, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """The results at some draws, stacked; `first` is that at the very first one."""
    columns: dict[str, list[Tensor]] = {name: [] for name in first}
    for k, values in found:
        for name in first.keys() | values.keys():
            there, here = (tuple(one[name].shape) if name in one else None for one in (first, values))
            if here != there:
                raise PredictionError(
                    f"site {name!r} has shape {there} at the first draw and {here} at draw {k} (None: it was not reached). "
                    "Draws are stacked, so the same sites with the same shapes are needed in every execution."
                )
            columns[name].append(values[name])
    return {name: torch.stack(column) for name, column in columns.items()}


def _map(run: Run, values: Mapping[str, Tensor], rows: range, streams: Sequence[int]) -> dict[str, Tensor] | None:
    """The draws `rows` at once; None if the program cannot be mapped, or a check in it fails for one of them."""
    counters = _Counters([streams[k] for k in rows])

    def one(row: Mapping[str, Tensor], k: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        with _Checks() as checks:
            found = dict(run(row, lambda site: _draw_mapped(site, k, counters)))
        return found, checks.passed()

    index = torch.arange(rows.start, rows.stop)
    try:
        with warnings.catch_warnings():
            # Nothing that a user could act on: the draws are slower, but correct.
            warnings.filterwarnings("ignore", message="There is a performance drop because we have not yet implemented")
            results, passed = vmap(one, randomness="error")(values, index)
    except Exception:
        # Running the draws one by one either avoids the error or raises it in terms of the program.
        return None
    return results if bool(passed.all()) else None


def agree(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two executions have the same results, up to rounding."""
    return one.keys() == other.keys() and all(
        one[name].shape == other[name].shape
        and one[name].dtype == other[name].dtype
        and torch.allclose(one[name].double(), other[name].double(), rtol=1e-3, atol=1e-5, equal_nan=True)
        for name in one
    )


class _Counters:
    """The streams of all rows together, and those of each. One object, which torch hands on as it is."""

    def __init__(self, streams: Sequence[int]) -> None:
        self.streams, self.together = streams, counting(streams, rows=True)

    def alone(self) -> list[counting]:
        """The streams of each row, after as many calls as there have been."""
        return [counting([stream], calls=self.together.calls) for stream in self.streams]


def _draw_mapped(site: Sample, k: Tensor, counters: _Counters) -> Tensor:
    """The value of a site inside `vmap`, each row from the stream of its draw."""
    if not isinstance(site.fn, Distribution):
        raise PredictionError(f"site {site} is drawn by a function, which cannot be mapped.")

    def draw(arguments: Sequence[Tensor]) -> Tensor:
        given: Iterator[Tensor] = iter(arguments)
        return _draw(site.but(fn=rebuild(site.fn, lambda _: next(given))))

    value: Tensor = _DrawByRow.apply(draw, counters, k, *tensors(site.fn))
    return value


class _DrawByRow(torch.autograd.Function):
    """A draw of all rows, each from a stream of its own: at once by `vmap` if it can map the sampler, or one by one."""

    @staticmethod
    def forward(draw: Any, counters: _Counters, k: Tensor, *arguments: Tensor) -> Tensor:
        raise PredictionError("a draw by rows outside of the rows")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(
        info: Any, in_dims: Sequence[int | None], draw: Any, counters: _Counters, k: Tensor, *arguments: Tensor
    ) -> tuple[Tensor, int]:
        together, dims = counters.together, in_dims[3:]
        calls = together.calls

        def one_row(k: Tensor, *row: Tensor) -> Tensor:
            with _EmptyByRow(0 * k):
                drawn: Tensor = draw(row)
            return drawn

        try:
            with together:
                found: Tensor = torch.vmap(one_row, (0, *dims), randomness="different")(k, *arguments)
            return found, 0
        except Exception:
            # What is wrong with the site itself is raised by the rows.
            together.calls = calls
        rows, alone = [], counters.alone()
        for i, one in enumerate(alone):
            with one:
                rows.append(draw([a if d is None else a.select(d, i) for a, d in zip(arguments, dims, strict=True)]))
        together.calls = alone[0].calls
        return torch.stack(rows), 0


class _EmptyByRow(TorchFunctionMode):
    """Tensors that samplers make to fill them with draws, one for each row: torch would fill one for all."""

    def __init__(self, zero: Tensor) -> None:
        super().__init__()
        self._zero = zero

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        return found + self._zero.to(found.dtype) if func in _EMPTY and not is_batched(found) else found


_EMPTY = frozenset((torch.empty, torch.empty_like, Tensor.new, Tensor.new_empty))


class _Checks(TorchFunctionMode):
    """Collects argument checks inside `vmap`, where their results are not available, and evaluates them afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self._found: list[Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is is_all_true:
            self._found.append(args[0].all())
            return torch.ones((), dtype=torch.bool)
        if func is Tensor.__bool__ and caller().f_code.co_filename == constraints.__file__:
            # `if not symmetric.all(): return …` in the check of positive definiteness.
            self._found.append(args[0])
            return True
        return func(*args, **(kwargs or {}))

    def passed(self) -> Tensor:
        """Whether all checks hold."""
        holds = torch.ones((), dtype=torch.bool)
        for found in self._found:
            holds = holds & found
        return holds


class Meter(TorchDispatchMode):
    """Counts the bytes of all tensors created by operators."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.bytes += sum(leaf.nbytes for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result
