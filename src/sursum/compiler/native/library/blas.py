"""BLAS and LAPACK as addresses, those that torch or SciPy bring along; and how many threads those use."""

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

import torch

#: Which of SciPy's modules exports a routine.
LAPACK = frozenset({"dpotrf", "dpotrs", "dtrtrs", "dgetrf", "dgetrs", "dsyevd", "dgesdd"})


#: What is taken from torch where it has MKL and lets others call it: the routine's name there. Its products of matrices are 1.1
#: to 2 times as fast as SciPy's, and eigenvectors have the signs that torch gives them. `threads` sets how many threads MKL
#: uses for the thread that calls it, and returns the number before.
MKL = {"dgemm": "dgemm_", "threads": "MKL_Set_Num_Threads_Local", "dsyevd": "dsyevd_", "dgesdd": "dgesdd_"}


def address(routine: str) -> int:
    """The address of a routine, which takes its arguments as Fortran does, by reference.

    Products of matrices are torch's own where it has MKL; all else is SciPy's. The address of ``threads`` is 0 where there is
    no MKL, and nothing needs to be done.

    Raises:
        KeyError: SciPy exports no such routine.

    Example:
        >>> address("dgemm") != 0
        True
    """
    library = _mkl() if routine in MKL else None
    if library is not None:
        return int(ctypes.cast(library[MKL[routine]], ctypes.c_void_p).value or 0)
    if routine == "threads":
        return 0
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


def _mkl() -> ctypes.CDLL | None:
    """The library of torch, which is loaded already, if MKL is a part of it that others may call."""
    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    if not torch.backends.mkl.is_available() or not path.exists():
        return None
    library = ctypes.CDLL(str(path))
    return library if all(hasattr(library, name) for name in MKL.values()) else None


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
                continue  # one that is not loaded
            if hasattr(library, "scipy_openblas_set_num_threads"):
                return library
    return None
