"""Packages that an installation may do without, and the error that says how to get one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sursum.errors import MissingPackageError

EXTRAS = {"arviz": "arviz", "xarray": "arviz", "zarr": "store", "zuko": "flows", "matplotlib": "plot"}
"""The extra of sursum that installs each of them."""


def needed(module: str, purpose: str) -> Any:
    """A module of an optional package, imported.

    Args:
        module: its dotted name; its package is one of `EXTRAS`.
        purpose: what needs it, as the subject of a sentence.

    Raises:
        MissingPackageError: the package is not installed. One that is there, but lacks something of its own, raises its own
            error.

    Example:
        >>> needed("zarr", "A store").__name__
        'zarr'
    """
    package = module.split(".")[0]
    try:
        import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingPackageError(
            f"{purpose} needs the package {package}, which is not installed: pip install 'sursum[{EXTRAS[package]}]'"
        ) from error
    return import_module(module)
