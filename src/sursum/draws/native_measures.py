"""The numbers of unknowns by C, which sorts the draws of each once and needs no GIL."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from sursum.compiler.native.library.loaded import Loaded
from sursum.compiler.native.library.own import INCLUDES, open_own
from sursum.draws.measures import TAILS
from sursum.draws.ranks import scores_of_ranks
from sursum.errors import CompileError

Array = NDArray[np.float64]

PARTS = ("sorted", "geyer", "measures")
"""The files of `c/`, in the order in which they need one another."""

MOST_DRAWS = 1 << 31
"""Of one unknown: more are left to NumPy."""


@cache
def source() -> str:
    """The C of the diagnostics."""
    folder = files(__package__).joinpath("c")
    parts = [folder.joinpath(f"{name}.c").read_text(encoding="ascii") for name in PARTS]
    return "\n".join([f"/* The diagnostics of sursum. */\n{INCLUDES}", *parts])


@dataclass(frozen=True, eq=False)
class NativeMeasures:
    """The compiled functions, for draws of shape (chain, draw, …).

    `table` has the normal scores of ranks among the draws of all halves.
    """

    library: Loaded
    chains: int
    length: int
    table: Array

    @classmethod
    def open(cls, chains: int, length: int) -> NativeMeasures | None:
        """The functions, from the cache if they have been compiled before; None where there is no compiler."""
        if chains * length >= MOST_DRAWS:
            return None
        try:
            library = open_own(source(), ("sursum_measure",))
        except CompileError:
            return None
        return cls(library, chains, length, scores_of_ranks(2 * chains * (length // 2)))

    def measure(self, draws: Array, out: Array) -> NDArray[np.bool_]:
        """Write the numbers of unknowns to `out`, and return for which some are not known: NumPy must find those.

        Args:
            draws: float64, (chain, draw, unknown), with the unknowns beside one another in memory.
            out: float64, (numbers, unknown), with the unknowns beside one another.
        """
        unknowns = draws.shape[2]
        if draws.shape[:2] != (self.chains, self.length) or not suits(draws) or not suits(out[:, None]):
            raise ValueError(f"draws of {draws.shape}, {draws.strides} are not as expected")
        left, tails = np.ones(unknowns, dtype=np.bool_), np.array(TAILS)
        function = self.library.handle.sursum_measure
        function.restype = ctypes.c_int64
        steps = (self.chains, self.length, draws.strides[0] // 8, draws.strides[1] // 8, unknowns)
        failed = function(
            _pointer(draws),
            *(ctypes.c_int64(step) for step in steps),
            _pointer(self.table),
            _pointer(tails),
            ctypes.c_double(1.0 / math.log10(len(self.table) // 2 + 1)),
            _pointer(out),
            ctypes.c_int64(out.strides[0] // 8),
            _pointer(left),
        )
        if failed:
            raise MemoryError("there is no memory for the diagnostics of the draws")
        return left


def suits(draws: NDArray[np.generic]) -> bool:
    """Whether C can read these draws, (chain, draw, unknown), where they are."""
    beside = draws.strides[2] == draws.itemsize or draws.shape[2] == 1
    return draws.dtype == np.float64 and draws.dtype.isnative and draws.flags.aligned and beside


def _pointer(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
