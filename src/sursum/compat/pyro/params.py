"""The global parameter store, under the names of Pyro's `params`."""

from sursum.compat.pyro.store import STORE, ParamStoreDict, param_with_module_name

param_store = STORE

__all__ = ["ParamStoreDict", "param_store", "param_with_module_name"]
