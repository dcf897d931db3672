"""Files of parameter stores, in Pyro's format, read without executing anything."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints, transform_to

import sursum as su
from sursum.compat.pyro.distributions import constraints as ours
from sursum.errors import MissingFileError, StorageError


def _allowed() -> list[Any]:
    """The classes that a file may name: constraints, Pyro's own by ours, and a network's tensors."""
    named = [
        value for value in vars(constraints).values() if isinstance(value, type) and issubclass(value, constraints.Constraint)
    ]
    made = [type(value) for value in vars(constraints).values() if isinstance(value, constraints.Constraint)]
    theirs = [
        (ours.SoftplusPositive, "pyro.distributions.constraints._SoftplusPositive"),
        (type(ours.ordered), "pyro.distributions.constraints._OrderedVector"),
    ]
    return [*dict.fromkeys([*named, *made]), ours.SoftplusPositive, type(ours.ordered), *theirs, torch.nn.Parameter]


def constrained(free: Tensor, constraint: constraints.Constraint) -> Tensor:
    """The value at the coordinates that a file has."""
    if isinstance(constraint, ours.SoftplusPositive):
        return torch.nn.functional.softplus(free)
    try:
        value: Tensor = transform_to(constraint)(free)
    except NotImplementedError:
        store = su.ParamStore()
        store.sites["x"] = su.handlers.Param(name="x", initial=free, constraint=constraint)
        store.unconstrained["x"] = free
        value = store["x"]
    return value


def coordinates(value: Tensor, constraint: constraints.Constraint) -> Tensor:
    """The coordinates of a value in a file: torch's, as Pyro has them."""
    if isinstance(constraint, ours.SoftplusPositive):
        return value + (-(-value).expm1()).log()
    try:
        free: Tensor = transform_to(constraint).inv(value)
    except NotImplementedError:
        store = su.ParamStore()
        with store:
            su.param("x", value, constraint=constraint)
        free = store.unconstrained["x"].detach()
    return free.clone()


def write_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a state of a store.

    Raises:
        MissingFileError: the folder does not exist.
    """
    try:
        torch.save(dict(state), path)
    except (FileNotFoundError, RuntimeError) as error:
        raise MissingFileError(f"{os.fspath(path)!r} cannot be written: {error}. Make its folder first.") from error


def read_state(path: str | os.PathLike[str], map_location: Any = None) -> dict[str, Any]:
    """Read a state of a store: tensors and constraints, and nothing else.

    Raises:
        MissingFileError: there is no such file.
        StorageError: it holds something else, or is damaged.
    """
    if not os.path.exists(path):
        raise MissingFileError(f"there is no file {os.fspath(path)!r}: give the path that the store was saved to.")
    try:
        with torch.serialization.safe_globals(_allowed()):
            state = torch.load(path, map_location=map_location, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise StorageError(
            f"{os.fspath(path)!r} is not the file of a parameter store: tensors and constraints were expected in it, and "
            f"nothing else is read. ({str(error).splitlines()[0]})"
        ) from error
    good = (
        isinstance(state, dict)
        and isinstance(state.get("params"), dict)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state["params"].items())
    )
    if not good:
        raise StorageError(f"{os.fspath(path)!r} is not the file of a parameter store: it has no tensors under 'params'.")
    found = {name: value for name, value in state.get("constraints", {}).items() if isinstance(value, constraints.Constraint)}
    return {"params": dict(state["params"]), "constraints": found}
