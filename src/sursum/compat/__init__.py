"""The surfaces of other libraries, on top of sursum's public names: `sursum.compat.pyro`.

Imports the public modules of the package and nothing else of it; nothing but `__main__` imports it.
"""
