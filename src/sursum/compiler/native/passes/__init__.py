"""Passes over the loop program: fusion, grouping, tiles, packing, the reuse of memory. One file each.

Imports `ir`; the list of passes, `compiler/passes.py`, imports it.
"""
