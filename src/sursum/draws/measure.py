"""All unknowns of some sites, in blocks, on all cores: by C, or by NumPy where there is no compiler."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.common.cores import available_cores
from sursum.draws.measures import MIN_DRAWS, NUMBERS, mixing_of, moments
from sursum.draws.native_measures import NativeMeasures, suits

Array = NDArray[np.float64]

BLOCK = 1 << 18
"""Draws per block: keeps the working arrays of a thread inside its cache, for any number of unknowns."""


def measure_by_name(sites: Mapping[str, NDArray[Any]], *, with_moments: bool = False) -> dict[str, Array]:
    """The `NUMBERS` of every unknown, (8, *shape) by site; the last five may be NaN unless `with_moments`.

    Args:
        sites: by name, each of shape (chain, draw, *shape), with as many chains and draws; real numbers, integers or booleans.
    """
    found = {name: np.full((len(NUMBERS), math.prod(draws.shape[2:])), np.nan) for name, draws in sites.items()}
    blocks = list(_blocks(sites, found))
    if blocks:
        chains, length, _ = blocks[0][0].draws.shape
        native = NativeMeasures.open(chains, length) if length >= MIN_DRAWS else None
        work = partial(_measure, native=native, with_moments=with_moments)
        workers = min(available_cores(), len(blocks))
        if workers > 1:  # C and NumPy compute without the interpreter's lock
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(work, blocks))
        else:
            for block in blocks:
                work(block)
    return {name: rows.reshape(len(NUMBERS), *sites[name].shape[2:]) for name, rows in found.items()}


@dataclass(frozen=True, eq=False)
class _Columns:
    """Some unknowns of a site: (chain, draw, unknown), and where their numbers go, (8, unknown)."""

    draws: NDArray[Any]
    out: Array

    def doubles(self, which: NDArray[np.bool_] | slice) -> Array:
        """The draws of some of them, (unknown, chain, draw)."""
        return np.ascontiguousarray(np.moveaxis(self.draws[:, :, which], -1, 0), dtype=np.float64)


def _blocks(sites: Mapping[str, NDArray[Any]], found: Mapping[str, Array]) -> Iterator[list[_Columns]]:
    """All unknowns that have draws, about `BLOCK` draws at once."""
    block, room = list[_Columns](), 0
    for name, draws in sites.items():
        chains, length = draws.shape[:2]
        if not draws.size:
            continue
        flat, most, begin = draws.reshape(chains, length, -1), max(1, BLOCK // (chains * length)), 0
        while begin < flat.shape[2]:
            if not block:
                room = most
            some = slice(begin, begin + room)
            part = _Columns(flat[:, :, some], found[name][:, some])
            block.append(part)
            begin, room = begin + part.draws.shape[2], room - part.draws.shape[2]
            if not room:
                yield block
                block = []
    if block:
        yield block


def _measure(block: Sequence[_Columns], *, native: NativeMeasures | None, with_moments: bool) -> None:
    """Write the numbers of a block: those that C leaves are found by NumPy, together."""
    left: list[tuple[_Columns, NDArray[np.bool_]]] = []
    for part in block:
        which = np.ones(part.draws.shape[2], dtype=np.bool_)
        if native is not None:
            draws = part.draws if suits(part.draws) else np.ascontiguousarray(part.draws, dtype=np.float64)
            which = native.measure(draws, part.out)
        if which.any():
            left.append((part, which))
    if not left:
        return
    rows = np.concatenate([part.doubles(which) for part, which in left])
    numbers = np.full((len(NUMBERS), len(rows)), np.nan)
    numbers[:3] = mixing_of(rows)
    if with_moments:
        numbers[3:] = moments(rows.reshape(len(rows), -1))
    begin = 0
    for part, which in left:
        count = int(which.sum())
        part.out[:, which] = numbers[:, begin : begin + count]
        begin += count
