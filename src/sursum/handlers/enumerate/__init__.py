"""Discrete sites given all their values at once, and summed out.

    site ──`support`──▶ all values, along a dimension of their own left of the plates ──program──▶ terms
                            terms ──`potentials`──▶ ──`elimination`──▶ one log density, or a message from step to step

`enumerated` is the handler; `steps` does the same in each step of a scan, whose carry `step_pattern` describes; `held` marks
the sites that are drawn instead. (`density/survey.py` finds the sites and their shapes, by a run in which each has one value.)
Imports `core` and `distributions`; `density`, `predict`, `vi` and rooms above import it.
"""
