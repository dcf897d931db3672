"""Public names that are imported when they are first asked for, so that a run pays only for what it uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any


class LateNames:
    """Names of a package by the module that has them; a module that is itself such a name is its own home.

    Example:
        >>> import sursum as su
        >>> late = LateNames("sursum.infer", {"sursum.vi.svi": ["SVI"]})
        >>> "SVI" in late, late.load("SVI") is su.infer.SVI
        (True, True)
    """

    def __init__(self, package: str, homes: Mapping[str, Sequence[str]]) -> None:
        self._package = package
        self._homes = {name: home for home, names in homes.items() for name in names}

    def __contains__(self, name: object) -> bool:
        return name in self._homes

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def load(self, name: str) -> Any:
        """What has this name, which is from now on an attribute of the package."""
        home = self._homes[name]
        module = import_module(home)
        found = module if home == f"{self._package}.{name}" else getattr(module, name)
        setattr(sys.modules[self._package], name, found)
        return found
