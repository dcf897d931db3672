"""`lift`: parameters become latent sites. `resolve` finds and fits a parameter's prior, `site` builds the message of its site.

Imports `core`; of the other handlers none is imported here.
"""
