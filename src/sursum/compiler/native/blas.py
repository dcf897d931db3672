"""BLAS and LAPACK as addresses: those that SciPy brings along; and how many threads those use."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

#: Which of SciPy's modules exports a routine.
LAPACK = frozenset({"dpotrf", "dpotrs", "dtrtrs", "dgetrf", "dgetrs"})


def address(routine: str) -> int:
    """The address of a routine, which takes its arguments as Fortran does, by reference.

    Raises:
        KeyError: SciPy exports no such routine.

    Example:
        >>> address("dgemm") != 0
        True
    """
    module = import_module(f"scipy.linalg.cython_{'lapack' if routine in LAPACK else 'blas'}")  # slow: at its door
    capsule = module.__pyx_capi__[routine]
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(pointer(capsule, name(capsule)))


@contextmanager
def one_thread() -> Iterator[None]:
    """SciPy's OpenBLAS, if it is loaded, works with one thread each for whoever calls it; afterwards as before.

    Chains are the parallelism: two callers of a BLAS that itself uses two threads wait for each other, and its sums have
    other bits than those of one thread.

    Example:
        >>> with one_thread():
        ...     pass
    """
    library = _openblas()
    if library is None:
        yield
        return
    _SHARED.enter(library)
    try:
        yield
    finally:
        _SHARED.leave(library)


class _Shared:
    """The setting belongs to the process: the first that comes changes it, and the last that goes changes it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users, self._before = 0, 1

    def enter(self, library: ctypes.CDLL) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._before = int(library.scipy_openblas_get_num_threads())
                library.scipy_openblas_set_num_threads(1)

    def leave(self, library: ctypes.CDLL) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                library.scipy_openblas_set_num_threads(self._before)


_SHARED = _Shared()


def _openblas() -> ctypes.CDLL | None:
    """The OpenBLAS that SciPy's wheels bring along, if this process has loaded it."""
    spec = find_spec("scipy") if "scipy.linalg" in sys.modules else None
    if spec is None or spec.origin is None or not hasattr(os, "RTLD_NOLOAD"):
        return None
    package = Path(spec.origin).parent
    for folder in (package.parent / "scipy.libs", package / ".dylibs"):
        for path in sorted(folder.glob("libscipy_openblas*")):
            try:
                library = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD)
            except OSError:
                continue  # another one, which is not loaded
            if hasattr(library, "scipy_openblas_set_num_threads"):
                return library
    return None
