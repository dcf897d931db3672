"""BLAS and LAPACK as addresses: those that SciPy brings along."""

from __future__ import annotations

import ctypes
from importlib import import_module

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
