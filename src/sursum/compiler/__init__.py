"""From a function of tensors to compiled C.

    function ──capture──▶ Graph ──passes──▶ Graph of doubles ──native──▶ C ──cc, cache──▶ NativeFunction ──proof──▶ an engine
                                               └──────────── python_codegen ─▶ torch, where there is no C for it ───┘

`capture/` records a run, `graph/` has the graph and its passes, `check/` compares it with the program, `scan/` keeps
scans as loops, `native/` goes to C, `export/` writes libraries that need no Python; `compiled.py` is the way through all of
them for a log density. Imports `density` and below; what evaluates often (`mcmc`, `vi`, `optimise`) imports it.
"""
