"""The native engine: from a captured graph of doubles to one plain C file, compiled, cached and proved.

    graph ──lower──▶ loop program ──passes──▶ grouped loop program ──emit──▶ C ──cc, cache──▶ NativeFunction ──prove

`build.py` does all but the proof, which needs the graph's replay: `proof.py`. The passes are listed in `compiler/passes.py`.
Imports `graph`; the rest of `compiler` imports it.
"""
