"""The next draws of a chain, by C, which calls a compiled density without Python."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.compiler.native.library.loaded import Loaded, load
from sursum.errors import SamplingError
from sursum.mcmc.kernel.state import State, header_in_c

Array = NDArray[np.float64]

PARTS = ("random", "metric", "leapfrog", "turning", "step_size", "walnuts", "tree", "hmc", "warmup", "advance")
"""The files of `c/`, in the order in which they need one another."""

INCLUDES = "".join(f"#include <{name}.h>\n" for name in ("math", "stddef", "stdint", "stdlib", "string"))

NO_MEMORY = -1000


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
        return cls(load(source(), ("sursum_advance",)))

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
        if made == NO_MEMORY:
            raise SamplingError("a chain failed: there is no memory for its trajectory. Lower `max_tree_depth`.")
        if made < 0:
            raise SamplingError(
                f"a chain failed: its log density returned {made}. Run again with `engine='torch'`, and report it."
            )
        return made
