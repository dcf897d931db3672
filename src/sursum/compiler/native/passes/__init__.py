"""Passes over the loop program: fusion, grouping, tiles, packing, the reuse of memory. One file each.

Imports `ir`; `build` imports it.
"""
