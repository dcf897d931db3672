"""Pyro's global parameter store: the one piece of global state, a `ParamStore` that stands underneath all handlers.

A parameter that no handler answers is read from it, and it starts there at the program's own value. The parameters of a
network that `module` has registered are the network's own tensors: training the store trains the network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints

import sursum as su
from sursum.compat.pyro.saved_store import constrained, coordinates, read_state, write_state

Init = Tensor | float | Callable[[], Tensor] | None


class ParamStoreDict:
    """Parameters by name, as `pyro.get_param_store()` gives them: a mapping from names to constrained values.

    Each is kept as an unconstrained leaf, `value.unconstrained()`, which optimisers change.

    Example:
        >>> import torch
        >>> store = ParamStoreDict()
        >>> float(store.setdefault("s", torch.tensor(2.0), constraints.positive).detach())
        2.0
        >>> list(store), round(float(store["s"].unconstrained().detach()), 3)
        (['s'], 0.693)
    """

    def __init__(self) -> None:
        self._kept = su.ParamStore()

    @property
    def leaves(self) -> dict[str, Tensor]:
        """The unconstrained tensors, by name."""
        return self._kept.unconstrained

    def read(
        self, name: str, init: Init = None, constraint: constraints.Constraint = constraints.real, event_dim: int | None = None
    ) -> Tensor:
        """The value of a parameter, which starts at `init`."""
        if name in self._kept:
            return self[name]
        with self._kept:
            su.param(name, init, constraint=constraint, event_dim=event_dim)
        return self[name]

    def register(self, name: str, parameter: nn.Parameter, owner: nn.Module | None = None) -> Tensor:
        """Keep a network's own tensor under this name, or give the value that the store has already."""
        known = self._kept.unconstrained.get(name)
        if known is None or (known is not parameter and known.shape != parameter.shape):
            self.place(name, parameter)
            return parameter
        return known

    def place(self, name: str, leaf: Tensor, constraint: constraints.Constraint = constraints.real) -> None:
        """Keep `leaf`, which is unconstrained, under this name."""
        site = su.handlers.Param(name=name, initial=leaf.detach(), constraint=constraint)
        self._kept.sites[name], self._kept.unconstrained[name] = site, leaf

    def constraint_of(self, name: str) -> constraints.Constraint:
        """The constraint that a parameter was made with."""
        return self._kept.sites[name].constraint

    # As a mapping.

    def __getitem__(self, name: str) -> Tensor:
        leaf = self._kept.unconstrained.get(name)
        value = self._kept[name]
        if leaf is None or isinstance(value, nn.Parameter):
            return value
        if value is leaf and not isinstance(leaf, nn.Parameter):
            value = leaf.view_as(leaf) if hasattr(leaf, "unconstrained") else leaf
        value.unconstrained = partial(self._leaf, name)  # type: ignore[attr-defined]
        return value

    def _leaf(self, name: str) -> Tensor:
        return self._kept.unconstrained[name]

    def __setitem__(self, name: str, value: Tensor) -> None:
        constraint = self._kept.sites[name].constraint if name in self._kept else constraints.real
        old = self._kept.unconstrained.pop(name, None)
        self._kept.sites.pop(name, None)
        with self._kept:
            su.param(name, value.detach().clone(), constraint=constraint)
        if isinstance(old, nn.Parameter) and old.shape == value.shape:
            with torch.no_grad():
                old.copy_(self._kept.unconstrained[name])
            self._kept.unconstrained[name] = old

    def __delitem__(self, name: str) -> None:
        del self._kept.unconstrained[name], self._kept.sites[name]

    def __contains__(self, name: object) -> bool:
        return name in self._kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __bool__(self) -> bool:
        return len(self._kept) > 0

    def __repr__(self) -> str:
        return repr(self._kept)

    def keys(self) -> KeysView[str]:
        return dict.fromkeys(self).keys()

    def items(self) -> ItemsView[str, Tensor]:
        return {name: self[name] for name in self}.items()

    def values(self) -> list[Tensor]:
        return [self[name] for name in self]

    def get_all_param_names(self) -> KeysView[str]:
        """The names of all parameters."""
        return self.keys()

    def named_parameters(self) -> ItemsView[str, Tensor]:
        """The unconstrained leaves, by name."""
        return self._kept.unconstrained.items()

    def match(self, name: str) -> dict[str, Tensor]:
        """The parameters whose names match a regular expression."""
        pattern = re.compile(name)
        return {key: self[key] for key in self if pattern.match(key)}

    def setdefault(
        self, name: str, init_constrained_value: Init, constraint: constraints.Constraint = constraints.real
    ) -> Tensor:
        """The value of a parameter; one that does not exist yet starts at `init_constrained_value`."""
        return self.read(name, init_constrained_value, constraint)

    def get_param(
        self,
        name: str,
        init_tensor: Init = None,
        constraint: constraints.Constraint = constraints.real,
        event_dim: int | None = None,
    ) -> Tensor:
        """Another name of `setdefault`."""
        return self.read(name, init_tensor, constraint, event_dim)

    def replace_param(self, param_name: str, new_param: Tensor, old_param: Tensor | None = None) -> None:
        """Set a parameter."""
        self[param_name] = new_param

    def param_name(self, p: Tensor) -> str | None:
        """The name of an unconstrained leaf, or of the value that it is."""
        return next((name for name, leaf in self._kept.unconstrained.items() if leaf is p), None)

    def clear(self) -> None:
        """Forget every parameter."""
        self._kept = su.ParamStore()

    # Files, and states.

    def get_state(self) -> dict[str, Any]:
        """The unconstrained tensors, in torch's coordinates, and their constraints: what `save` writes."""
        kept: dict[str, Any] = {"params": {}, "constraints": {}}
        for name in self:
            constraint = self.constraint_of(name)
            kept["params"][name] = coordinates(self[name].detach(), constraint)
            kept["constraints"][name] = constraint
        return kept

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Replace everything by a state that `get_state` gave. A network's own tensors keep their identity."""
        before = dict(self._kept.unconstrained)
        self.clear()
        for name, free in state["params"].items():
            constraint = state.get("constraints", {}).get(name, constraints.real)
            with self._kept:
                su.param(name, constrained(free.detach(), constraint), constraint=constraint)
            old = before.get(name)
            if isinstance(old, nn.Parameter) and old.shape == free.shape:
                with torch.no_grad():
                    old.copy_(self._kept.unconstrained[name])
                self._kept.unconstrained[name] = old

    def save(self, filename: str | os.PathLike[str]) -> None:
        """Write the store to a file in Pyro's format: tensors, and the constraints' classes by name."""
        write_state(filename, self.get_state())

    def load(self, filename: str | os.PathLike[str], map_location: Any = None) -> None:
        """Read a file that this store, or Pyro's, wrote. Nothing in it is executed: tensors and constraints only.

        Raises:
            StorageError: the file holds something else.
            MissingFileError: there is no such file.
        """
        self.set_state(read_state(filename, map_location))

    @contextmanager
    def scope(self, state: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Another store inside the `with` block, empty or at `state`; what it holds at the end is in the yielded mapping."""
        outer, self._kept = self._kept, su.ParamStore()
        found: dict[str, Any] = {"params": {}, "constraints": {}}
        try:
            if state is not None and state.get("params"):
                self.set_state(state)
            yield found
            found |= self.get_state()
        finally:
            self._kept = outer


STORE = ParamStoreDict()
"""The global store."""


def normalize_param_name(name: str) -> str:
    """The dotted name of a parameter of a network."""
    return name.replace(SEPARATOR, ".")


SEPARATOR = "$$$"
"""Between the name of a module and the path of a parameter in it."""


def param_with_module_name(pyro_name: str, param_name: str) -> str:
    """The store's name of a network's parameter.

    Example:
        >>> param_with_module_name("encoder", "fc.weight")
        'encoder$$$fc.weight'
    """
    return f"{pyro_name}{SEPARATOR}{param_name}"


def leaves_of(names: Sequence[str]) -> dict[str, Tensor]:
    """The leaves of these parameters that are trained."""
    return {name: leaf for name in names if (leaf := STORE.leaves.get(name)) is not None and leaf.requires_grad}
