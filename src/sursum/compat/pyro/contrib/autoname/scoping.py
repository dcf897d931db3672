"""`scope` and `name_count`, where Pyro has them."""

from sursum.compat.pyro.poutine.scoping import name_count, scope

__all__ = ["name_count", "scope"]
