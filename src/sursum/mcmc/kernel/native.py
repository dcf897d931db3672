"""The next draws of a chain, by C, which calls a compiled density without Python."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.compiler.native.library.loaded import Loaded
from sursum.compiler.native.library.own import INCLUDES, open_own
from sursum.errors import SamplingError
from sursum.mcmc.kernel.gibbs import Sweep
from sursum.mcmc.kernel.state import State, header_in_c

Array = NDArray[np.float64]

PARTS = ("random", "metric", "leapfrog", "turning", "step_size", "walnuts", "tree", "hmc", "warmup", "advance", "gibbs")
"""The files of `c/`, in the order in which they need one another."""

NO_MEMORY = -1000


@cache
def source() -> str:
    """The C of the kernels."""
    folder = files(__package__).joinpath("c")
    parts = [folder.joinpath(f"{name}.c").read_text(encoding="ascii") for name in PARTS]
    return "\n".join([f"/* The kernels of sursum. */\n{INCLUDES}", header_in_c(), *parts])


@dataclass(frozen=True, eq=False)
class NativeKernel:
    """The compiled kernels.

    Example:
        >>> kernel = NativeKernel.open()
    """

    library: Loaded

    @classmethod
    def open(cls) -> NativeKernel:
        """The kernels, from the cache if they have been compiled before.

        Raises:
            CompileError: there is no compiler, or it failed.
        """
        return cls(open_own(source(), ("sursum_advance", "sursum_gibbs")))

    def advance(
        self, state: State, draws: int, density: Any, instance: Any, stop: NDArray[np.int64], positions: Array,
        gradients: Array | None, records: NDArray[np.void],
    ) -> int:  # fmt: skip
        """As `reference.advance`, without the GIL.

        Args:
            density, instance: a compiled density, and one of its instances, for this thread alone.
            stop: (1,), what the chain is told, as in `reference`; may be set by another thread.

        Raises:
            SamplingError: the density failed, or there is no memory.
        """
        call = self.library.handle.sursum_advance
        call.restype = ctypes.c_int64
        arrays = [None if a is None else ctypes.c_void_p(a.ctypes.data) for a in (stop, positions, gradients, records)]
        made = int(
            call(
                ctypes.c_void_p(state.block.ctypes.data),
                ctypes.c_int64(draws),
                ctypes.c_void_p(density.address),
                ctypes.c_void_p(instance.pointer),
                *arrays,
            )
        )
        return _made(made)

    def gibbs(
        self, state: State, draws: int, stop: NDArray[np.int64], positions: Array, gradients: Array | None,
        records: NDArray[np.void], held: HeldInC,
    ) -> int:  # fmt: skip
        """As `gibbs.advance_held`, without the GIL.

        Raises:
            SamplingError: the density failed, or there is no memory.
        """
        call = self.library.handle.sursum_gibbs
        call.restype = ctypes.c_int64
        arrays = [None if a is None else ctypes.c_void_p(a.ctypes.data) for a in (stop, positions, gradients, records)]
        return _made(
            int(call(ctypes.c_void_p(state.block.ctypes.data), ctypes.c_int64(draws), *arrays, ctypes.byref(held.fields)))
        )


def _made(code: int) -> int:
    """The number of draws that C returned."""
    if code == NO_MEMORY:
        raise SamplingError("a chain failed: there is no memory for its trajectory. Lower `max_tree_depth`.")
    if code < 0:
        raise SamplingError(f"a chain failed: its log density returned {code}. Run again with `engine='torch'`, and report it.")
    return code


class _CBlock(ctypes.Structure):
    """`struct block` of the C text."""

    _fields_ = (
        ("f", ctypes.c_void_p),
        ("user_data", ctypes.c_void_p),
        ("first", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("noise", ctypes.c_int64),
    )


class _HeldArrays(ctypes.Structure):
    """`struct held` of the C text."""

    _fields_ = (
        ("f", ctypes.c_void_p),
        ("score", ctypes.c_void_p),
        ("user_data", ctypes.c_void_p),
        ("score_data", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("n", "m", "count")),
        ("blocks", ctypes.POINTER(_CBlock)),
        *((name, ctypes.c_void_p) for name in ("limits", "q", "gradient", "out", "in")),
        *((name, ctypes.c_int64) for name in ("index", "failed")),
        *((name, ctypes.c_uint64) for name in ("key", "draw")),
    )


class HeldInC:
    """What one chain hands to `sursum_gibbs`: functions, each with an instance of its own, and memory."""

    def __init__(self, density: Any, how: Sweep) -> None:
        size, m = density.dim, len(how.limits)
        score, blocks = how.score, [(block, block.draw) for block in how.blocks]
        self._kept: list[Any] = [density, how]
        functions = [None if draw is None else self._instance(draw) for _, draw in blocks]
        self._blocks = (_CBlock * max(len(blocks), 1))(
            *(
                _CBlock(*((None, None) if f is None else f), block.first, block.count, block.noise)
                for (block, _), f in zip(blocks, functions, strict=True)
            )
        )
        noise = max((block.noise for block in how.blocks), default=0)
        lengths = {"q": size, "gradient": size, "out": max(size, 1), "in": size + noise}
        memory = {name: np.zeros(length) for name, length in lengths.items()}
        limits = np.ascontiguousarray(how.limits, dtype=np.float64)
        instance = density.instance()
        of_score = self._instance(score)
        self._kept += [memory, limits, instance]
        self.fields = _HeldArrays(
            density.address, of_score[0], instance.pointer, of_score[1], size - m, m, len(blocks), self._blocks,
            limits.ctypes.data, *(memory[name].ctypes.data for name in lengths),
        )  # fmt: skip

    def _instance(self, function: Any) -> tuple[int, int]:
        instance = function.instance()
        self._kept.append(instance)
        return function.address, instance.pointer
