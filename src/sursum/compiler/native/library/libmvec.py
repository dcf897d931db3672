"""The functions that glibc has for whole vectors."""

from __future__ import annotations

import ctypes
import platform
import re
from collections.abc import Sequence

from sursum.compiler.native.library.compilers import compile_library
from sursum.compiler.native.ops import OPS, VECTOR
from sursum.errors import CompileError

#: By processor, the vector lengths of which a compiler may choose any: what the name of a function's form begins with.
FORMS = {"x86_64": ("_ZGVbN2", "_ZGVcN4", "_ZGVdN4", "_ZGVeN8"), "aarch64": ("_ZGVnN2",)}
#: The form for vectors whose length only the processor knows, which newer compilers choose where there are such.
SCALABLE = "_ZGVsMx"

LOOP = """
#include <math.h>
__attribute__((simd("notinbranch"))) extern double exp(double);
void sursum_probe(double *x)
{
#pragma omp simd
    for (int i = 0; i < 64; i++)
        x[i] = exp(x[i]);
}
"""


def vector_functions(command: Sequence[str], flags: Sequence[str]) -> frozenset[str]:
    """The functions of which libmvec has a form for every vector length that the compiler may choose; none without libmvec."""
    try:
        library = ctypes.CDLL("libmvec.so.1")
        code = compile_library(command, (*flags, "-Werror", "-lmvec", "-lm"), LOOP)
    except (OSError, CompileError):
        return frozenset()
    prefixes = vector_lengths(platform.machine(), code)
    if not prefixes:
        return frozenset()
    return frozenset(name for name in VECTOR if all(hasattr(library, symbol(prefix, name)) for prefix in prefixes))


def vector_lengths(machine: str, code: bytes) -> tuple[str, ...]:
    """What the names of vector forms begin with on a `machine` whose compiler makes `code` of a loop over exponentials.

    Example:
        >>> vector_lengths("aarch64", b"..._ZGVnN2v_exp..."), vector_lengths("aarch64", b"..._ZGVsMxv_exp...")
        (('_ZGVnN2',), ('_ZGVnN2', '_ZGVsMx'))
        >>> vector_lengths("x86_64", b"...exp...")  # the compiler calls none
        ()
    """
    if not re.search(rb"_ZGV[a-z][NM][0-9x]+v_exp", code):
        return ()
    return FORMS.get(machine, ()) + ((SCALABLE,) if SCALABLE.encode() in code else ())


def symbol(prefix: str, name: str) -> str:
    """The symbol of a function's form.

    Example:
        >>> symbol("_ZGVnN2", "exp"), symbol("_ZGVdN4", "pow")
        ('_ZGVnN2v_exp', '_ZGVdN4vv_pow')
    """
    return f"{prefix}{'v' * OPS[name].arity}_{name}"
