"""Optional packages, and the error that says how to install one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sursum.errors import MissingPackageError

EXTRAS = {
    "arviz": "arviz",
    "xarray": "arviz",
    "zarr": "store",
    "zuko": "flows",
    "matplotlib": "plot",
    "loky": "workers",
    "cloudpickle": "workers",
    "ray": "ray",
}
"""The extra of sursum that installs each of them."""


def require(module: str, purpose: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: its dotted name; its package is one of `EXTRAS`.
        purpose: what needs it, as the subject of a sentence.

    Raises:
        MissingPackageError: the package is not installed. If it is installed but one of its dependencies is missing, its own
            error is raised.

    Example:
        >>> require("zarr", "A store").__name__
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
