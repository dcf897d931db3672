"""The captured graph, and the passes over it: graph in, graph out, one file each.

Imports no other part of the compiler; all of them import it.
"""
