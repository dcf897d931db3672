"""Subsets of rows for many steps at once, drawn in C: a small step takes no longer than drawing a hundred rows by NumPy."""

from __future__ import annotations

import ctypes
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from sursum.compiler.native.library.loaded import HeldLibrary, load

_SOURCE = files(__package__).joinpath("subsets.c")


class Subsets:
    """Draws some of the integers below a number without replacement.

    Raises:
        CompileError: the C cannot be compiled.

    Example:
        >>> rows = np.empty((2, 5))
        >>> Subsets().draw(np.random.SFC64(0), 5, 5, rows)
        >>> np.sort(rows).tolist()
        [[0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0, 3.0, 4.0]]
    """

    def __init__(self) -> None:
        self._library = HeldLibrary(load(_SOURCE.read_text(encoding="ascii"), ("sursum_subsets",)))
        self._draw = self._library.library.handle.sursum_subsets
        self._draw.restype = None
        number, place = ctypes.c_int64, ctypes.c_void_p
        self._draw.argtypes = [place, place, number, number, number, place, number, place, ctypes.c_uint64]

    def draw(self, source: np.random.BitGenerator, count: int, size: int, out: NDArray[np.float64]) -> None:
        """Fill each row of `out` with `count` of the integers below `size`, each subset as likely as any other.

        Args:
            source: where they come from; advanced.
            out: float64, (rows, count), a row contiguous: it may be some columns of an array.
        """
        if not (out.dtype == np.float64 and out.ndim == 2 and out.shape[1] == count <= size):
            raise ValueError(f"{count} of {size} do not go into {out.dtype} of shape {out.shape}")
        if not out.size:
            return
        step, unit = out.strides
        if (unit != out.itemsize and count > 1) or step % out.itemsize:
            raise ValueError("the numbers of a row do not lie side by side")
        places, functions = np.empty(1 << (2 * count - 1).bit_length(), dtype=np.int64), source.ctypes
        following = ctypes.cast(functions.next_uint64, ctypes.c_void_p)
        self._draw(
            following, functions.state_address, count, size, len(out), out.ctypes.data, step // out.itemsize,
            places.ctypes.data, len(places) - 1,
        )  # fmt: skip
