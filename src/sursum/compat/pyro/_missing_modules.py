"""Modules of Pyro that are not here: ``import …`` of one says what ``from … import`` says."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from types import ModuleType

from sursum.errors import MissingImportError, MissingNameError


class MissingModules(MetaPathFinder):
    """Asked for a module below `root` after all other finders: none has it, so the package that it would be in refuses it.

    Example:
        >>> import sursum.compat.pyro.contrib.gp.kernels
        Traceback (most recent call last):
        sursum.errors.MissingImportError: pyro.contrib.gp is not here: sursum takes GPyTorch's kernels.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        package, _, name = fullname.rpartition(".")
        if package != self.root and not package.startswith(f"{self.root}."):
            return
        where = sys.modules.get(package)
        if where is None or PathFinder.find_spec(fullname, where.__path__) is not None:
            return  # asked alone, as pytest does, for a module that is there
        # A name that a package computes when asked is an attribute and no module: Python's own error is right.
        refuse = vars(where).get("__getattr__")
        try:
            if refuse is not None:
                refuse(name)
        except MissingNameError as error:
            raise MissingImportError(str(error)) from None


def refuse_missing_modules(root: str) -> None:
    """Let an import of a module below `root` that does not exist say what to write."""
    if not any(isinstance(finder, MissingModules) and finder.root == root for finder in sys.meta_path):
        sys.meta_path.append(MissingModules(root))
