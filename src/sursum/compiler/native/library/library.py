"""A compiled density: its C function, and the data and memory that a caller hands to it."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.compiler.graph.assumption import Assumption
from sursum.compiler.native.ir.program import Compute
from sursum.compiler.native.library import blas
from sursum.compiler.native.library.loaded import HeldLibrary

Doubles = NDArray[np.float64]
SIGNATURE = ctypes.CFUNCTYPE(
    ctypes.c_int64, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
)


class _Fields(ctypes.Structure):
    """`struct instance` of the C text."""

    _fields_ = (
        ("workspace", ctypes.c_void_p),
        ("constants", ctypes.c_void_p),
        ("blas", ctypes.c_void_p),
    )


class Instance:
    """What one thread hands to the C function: `pointer` is its `user_data`.

    Constants are shared with all instances of the function; the workspace is this one's alone, so an instance must not
    be used by two threads at once.
    """

    def __init__(self, function: NativeFunction) -> None:
        self._function = function  # keeps the arrays, and the library, alive
        self._block = np.zeros(function.workspace + 64, dtype=np.uint8)
        start = self._block.ctypes.data
        self._fields = _Fields(
            start + (-start) % 64,
            ctypes.cast(function._constants, ctypes.c_void_p).value,
            ctypes.cast(function._blas, ctypes.c_void_p).value,
        )
        self.pointer = ctypes.addressof(self._fields)
        self._logp = np.zeros(1)
        self._logp_pointer = self._logp.ctypes.data

    def run(self, q: Doubles, out: Doubles) -> tuple[int, float]:
        """Calls the function: its code, and the log density; `out` is filled with the gradient (or the outputs)."""
        function = self._function
        code = function._call(function.dim, q.ctypes.data, out.ctypes.data, self._logp_pointer, self.pointer)
        return int(code), float(self._logp[0])


class NativeFunction:
    """A graph as a C function.

    `int64_t f(size_t dim, const double *q, double *grad, double *logp, void *user_data)` at `address` gives 0, or a
    number above 0 where the density cannot be used: 1 a guard failed (log density −∞, gradient 0), 2 the log density
    is not finite, 3 a component of the gradient is not; and −1 if `dim` is wrong. `user_data` is `instance().pointer`,
    one instance for each thread. `copy_address` is that of a function that copies q for samplers, 0 where the graph is no
    density. `source` is the C text.
    """

    def __init__(
        self, *, title: str, source: str, library: HeldLibrary, dim: int, size: int, density: bool, workspace: int,
        arrays: Sequence[Tensor], routines: Sequence[str], shapes: Sequence[tuple[int, ...]],
        computed: Sequence[Compute | None] = (), assumed: Sequence[Assumption] = (),
    ) -> None:  # fmt: skip
        self.title, self.source, self.dim, self.size, self.density = title, source, dim, size, density
        self.workspace, self.cached, self.shapes = workspace, library.library.cached, tuple(shapes)
        self._library, self._routines, self._computed, self._assumed = library, routines, computed, assumed
        self._arrays = tuple(arrays)
        self._constants = (ctypes.c_void_p * max(len(arrays), 1))(*(a.data_ptr() for a in arrays))
        self._blas = (ctypes.c_void_p * max(len(routines), 1))(*(blas.address(r) for r in routines))
        loaded = library.library.handle
        self.address: int = ctypes.cast(loaded.sursum_run, ctypes.c_void_p).value or 0
        self.copy_address: int = (ctypes.cast(loaded.sursum_copy, ctypes.c_void_p).value or 0) if density else 0
        self._call = SIGNATURE(self.address)
        self._own = threading.local()

    def instance(self) -> Instance:
        """Data and memory for one more thread."""
        return Instance(self)

    def on(self, constants: Mapping[int, Tensor]) -> NativeFunction | None:
        """The same function of other constants of its graph; None where its C relies on numbers that they do not have."""
        if not all(holds(constants) for holds in self._assumed):
            return None
        arrays = [one if of is None else of(constants) for one, of in zip(self._arrays, self._computed, strict=True)]
        return NativeFunction(
            title=self.title, source=self.source, library=self._library, dim=self.dim, size=self.size, density=self.density,
            workspace=self.workspace, arrays=arrays, routines=self._routines, shapes=self.shapes, computed=self._computed,
            assumed=self._assumed,
        )  # fmt: skip

    def _mine(self) -> Instance:
        found: Instance | None = getattr(self._own, "instance", None)
        if found is None:
            found = self._own.instance = Instance(self)
        return found

    def value_and_grad(self, q: Any) -> tuple[float, Doubles]:
        """The log density and its gradient at q ∈ Rⁿ; −∞ and zeros where a guard fails. Any thread may call.

        Raises:
            ValueError: q has another shape than (n,).
        """
        point = self._point(q)
        grad = np.empty(self.size)
        _, value = self._mine().run(point, grad)
        return value, grad

    def outputs(self, q: Any) -> list[Doubles]:
        """Every output, as an array of its shape. Those of a density are its value and gradient; of anything else they are NaN
        where a guard fails."""
        flat = np.empty(self.size)
        code, value = self._mine().run(self._point(q), flat)
        if self.density:
            return [np.array(value), flat]
        if code:
            flat[:] = np.nan
        found, start = [], 0
        for shape in self.shapes:
            count = int(np.prod(shape))
            found.append(flat[start : start + count].reshape(shape))
            start += count
        return found

    def tensors(self, q: Tensor) -> tuple[Tensor, ...]:
        """Every output, as a tensor."""
        return tuple(torch.from_numpy(output) for output in self.outputs(q.numpy()))

    def holds(self, q: Any) -> bool:
        """Whether every guard holds at q."""
        return self._mine().run(self._point(q), np.empty(self.size))[0] != 1

    def _point(self, q: Any) -> Doubles:
        point = np.ascontiguousarray(q, dtype=np.float64)
        if point.shape != (self.dim,):
            raise ValueError(f"{self.title}: expected {self.dim} unconstrained coordinates, found shape {point.shape}")
        return point
