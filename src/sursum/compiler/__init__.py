"""From a function of tensors to compiled C.

    function ──capture──▶ Graph ──passes──▶ Graph of doubles ──native──▶ C ──cc, cache──▶ NativeFunction ──proof──▶ an engine
                                               └──────────── python_codegen ─▶ torch, where C is not available ─────┘

`function.py` is this pipeline; `build_density.py` uses it for a log density, `training/packed.py` for a step of training.
`passes.py` lists the passes, and `rules.py` is the form of what they look for.
`capture/` records a run, `graph/` has the graph and its passes, `check/` compares it with the program, `scan/` keeps scans as
loops, `native/` goes to C, `export/` writes libraries that need no Python. Imports `density` and below; what evaluates often
(`mcmc`, `vi`, `optimise`) imports it.
"""
