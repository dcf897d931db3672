"""Files that are read and written, never executed: NumPy's `.npz`, a Zarr store that grows, lazy draws from it.

Imports `common`; may be imported by every room above.
"""
