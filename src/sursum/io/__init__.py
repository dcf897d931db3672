"""Files: what is read and written, and never executed. NumPy's `.npz`, a Zarr store that grows, draws that stay in it.

Imports `common`; may be imported by every room above.
"""
