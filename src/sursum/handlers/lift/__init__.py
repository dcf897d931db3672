"""`lift`: parameters become latent sites. `resolve` calls a prior that is a function, `fit` brings it to the
parameter's shape and dtype, `site` builds the message of the latent site, and `constrained` has the parameters of GPyTorch.

Imports `core`; of the other handlers none is imported here.
"""
