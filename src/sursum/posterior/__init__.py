"""`Posterior`: the draws of a run, and everything that can be asked of them.

Imports `predict`, `draws` and below; whatever draws (`mcmc`, `vi`, `optimise`) gives one.
"""
