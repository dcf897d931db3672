"""The captured graph, and the passes over it: graph in, graph out, one file each."""
