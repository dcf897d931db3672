"""Transition kernels: NUTS, HMC and WALNUTS, each as mathematics in NumPy and again in C.

A chain is one block of bytes (`state`), and `advance` makes its next draws: `native` by the C in `c/`, file for file the same
as the reference beside it (`random_numbers`, `metric`, `leapfrog`, `turning`, `tree`, `hmc`, `walnuts`, `step_size`,
`warmup`, `gibbs`), which runs where there is no C. `fisher` estimates metrics, `adaptation` chooses between them. Imports
`compiler.native.library`; `mcmc` imports it.
"""
