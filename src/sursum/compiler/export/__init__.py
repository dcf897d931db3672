"""Export a density as a C file that needs no Python: functions and arrays in one source, with BridgeStan's C interface.

`interface.c` is that interface; the other C files stand in for BLAS and LAPACK. Imports the rest of `compiler`.
"""

from sursum.compiler.export.text import ExportedSite, standalone

__all__ = ["ExportedSite", "standalone"]
