"""A density in parts: each of some rows, compiled; and their sum, which is a density like any other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sursum.common.cores import available_cores
from sursum.compiler.compiled import CompiledDensity, compile_density, compile_whole
from sursum.compiler.scan import rolled
from sursum.core.messages import Deterministic
from sursum.density.log_density import LogDensity
from sursum.distributed import ranks
from sursum.distributed.group import shown_data
from sursum.distributed.rows import cut, divide, plate_size, terms
from sursum.errors import ShardError
from sursum.handlers import trace

PARTS, LEAST_ROWS = 16, 500
"""How many parts threads share, and the rows below which there are fewer: by the data alone, so that the sum does not depend on
the number of threads."""

AGREEMENT = 1e-9
"""The relative difference from the whole density at which the sum of the parts is believed."""

Array = NDArray[np.float64]
ValueAndGradient = Callable[[Array], tuple[float, Array]]


@dataclass(frozen=True, repr=False)
class ShardedDensity(CompiledDensity):
    """The sum of the parts of a density."""

    parts: tuple[CompiledDensity, ...]
    total: ValueAndGradient

    @property
    def engine(self) -> str:
        """That of the parts, and how many there are in this process."""
        return f"{self.parts[0].engine} in {len(self.parts)} parts"

    def value_and_grad(self, q: Array) -> tuple[float, Array]:
        """See `CompiledDensity`."""
        return self.total(self._check_point(q))

    def with_data(self, *args: Any, **kwargs: Any) -> CompiledDensity:
        """See `CompiledDensity`."""
        return compile_density(self.density.with_data(*args, **kwargs), self.parts[0].engine)


def compile_parts(
    density: LogDensity, engine: str | None, plate: str, split: Sequence[str | int] | None, threads: int
) -> ShardedDensity:
    """Compile the parts that this process evaluates.

    Raises:
        ShardError: the plate is not there, has unknowns, or the parts do not add up to the whole.
    """
    session = ranks.session()
    program = density.model.fn if isinstance(density.model, rolled) and density.model.fn is not None else density.model
    own = split is not None and not split
    size = plate_size(_trace(density), plate)
    slices = [slice(0, size)] if own else divide(size, _parts(size) if session is None else session.size)
    mine = slices if session is None or own else [slices[session.rank]]

    def part(rows: slice, first: bool) -> CompiledDensity:
        args, kwargs = (density.args, density.kwargs) if own else cut(density.args, density.kwargs, size, rows, split)
        model = rolled(terms(program, plate=plate, first=first, rows=None if own else rows.stop - rows.start))
        return compile_whole(LogDensity(model, args, kwargs, jacobian=density.jacobian if first else False), engine)

    first = 0 if session is None else session.rank
    parts = []
    for k, rows in enumerate(mine):
        with warnings.catch_warnings():
            if k + first:  # a part without the prior; what concerns the program has been said for the first one
                warnings.simplefilter("ignore")
            parts.append(part(rows, k + first == 0))
    here = _by_threads([one.value_and_grad for one in parts], threads or (available_cores() if session is None else 1))
    total = (
        here
        if session is None
        else session.agree(
            here, density.coordinate_names(), density.title, [] if own else shown_data(density.args, density.kwargs)
        )
    )
    sites = parts[0].sites if not _has_local_values(density, plate) else None
    found = ShardedDensity(density, None, parts[0].points, sites, tuple(parts), total)
    if session is None or session.rank == 0:
        if not own:
            _check_sum(density, total, parts[0].points[0])
        return found
    session.program = density.program
    session.follow(here)
    raise AssertionError("a follower leaves through its session")


def _parts(size: int) -> int:
    return max(min(PARTS, size // LEAST_ROWS), min(2, size))


def _trace(density: LogDensity) -> Any:
    with torch.no_grad():
        return trace(density.model).get_trace(*density.args, **density.kwargs)


def _has_local_values(density: LogDensity, plate: str) -> bool:
    sites = (site for site in _trace(density).values() if isinstance(site, Deterministic))
    return any(frame.name == plate for site in sites for frame in site.plates)


def _by_threads(parts: Sequence[ValueAndGradient], threads: int) -> ValueAndGradient:
    """Their sum, in order."""
    if len(parts) == 1:
        return parts[0]
    pool = ThreadPoolExecutor(min(threads, len(parts)), thread_name_prefix="sursum part") if threads > 1 else None

    def total(q: Array) -> tuple[float, Array]:
        found = [part(q) for part in parts] if pool is None else list(pool.map(lambda part: part(q), parts))
        value, gradient = 0.0, np.zeros(len(q))
        for one, slope in found:
            value, gradient = value + one, gradient + slope
        return (value, gradient) if math.isfinite(value) else (-math.inf, np.zeros(len(q)))

    return total


def _check_sum(density: LogDensity, total: ValueAndGradient, point: torch.Tensor) -> None:
    """Raise ShardError unless the parts add up to the program's own density."""
    with torch.no_grad():
        whole = float(density(point))
    value, _ = total(point.numpy())
    if not abs(value - whole) <= AGREEMENT * max(1.0, abs(whole)):
        raise ShardError(
            f"the parts of the log density add up to {value:.10g}, and it is {whole:.10g}: the program does not use its data "
            "row by row. A mean or a sum over all rows inside it is that of a part: compute it outside, and pass it as an "
            "argument."
        )
