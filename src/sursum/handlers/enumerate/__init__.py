"""Discrete sites given all their values at once, and summed out.

    site ──`support`──▶ all values, along a dimension of their own left of the plates ──program──▶ terms
                                terms ──`tables`──▶ ──`elimination`──▶ one log density, or a message from step to step

`survey` finds the sites and their shapes by a run in which each has one value; `enumerated` is the handler; `steps` does the
same in each step of a scan. Imports `core` and `distributions`; `density`, `predict`, `vi` and rooms above import it.
"""
