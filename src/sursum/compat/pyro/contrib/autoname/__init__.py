"""Names of sites by scope.

Imports sursum's public names.
"""

from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.contrib.autoname.scoping import name_count, scope

__all__ = ["name_count", "scope"]

__getattr__ = refusing(
    "pyro.contrib.autoname",
    __all__,
    dict.fromkeys(("autoname", "named", "sample"), "give sites names, and prefixes by `scope`"),
)
