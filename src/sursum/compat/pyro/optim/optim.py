"""`PyroOptim`: a torch optimiser for every parameter, made when the parameter is first met."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

import sursum as su
from sursum.compat.pyro.store import SEPARATOR, STORE
from sursum.errors import OptimisationError

Options = Mapping[str, Any] | Callable[..., Mapping[str, Any]]


class PyroOptim:
    """An optimiser of the parameters of the global store.

    Args:
        optim_constructor: a torch optimiser's class, or a function from parameters and options to one.
        optim_args: its options, or a function that gives those of a parameter by its name.
        clip_args: ``{"clip_norm": …}`` or ``{"clip_value": …}``, by which each parameter's gradient is clipped; or a function.
    """

    def __init__(self, optim_constructor: Any, optim_args: Options, clip_args: Options | None = None) -> None:
        if not callable(optim_constructor):
            raise OptimisationError(f"`optim_constructor` is {optim_constructor!r}, but must be a torch optimiser's class.")
        for name, given in (("optim_args", optim_args), ("clip_args", clip_args)):
            if given is not None and not isinstance(given, Mapping) and not callable(given):
                raise OptimisationError(f"`{name}` is {given!r}, but must be a mapping, or a function of a parameter's name.")
        self.pt_optim_constructor, self.pt_optim_args, self.pt_clip_args = optim_constructor, optim_args, clip_args
        self.optim_objs: dict[Tensor, torch.optim.Optimizer] = {}
        self._names: dict[Tensor, str] = {}
        self._pending: dict[str, Any] = {}
        self.before_state: Callable[[], None] = lambda: None
        self.after_state: Callable[[], None] = lambda: None

    @staticmethod
    def of(given: Any) -> PyroOptim:
        """A torch optimiser's class, sursum's, or a function from parameters, as a `PyroOptim`."""
        if isinstance(given, su.optim.Optim):
            return _Sursum(given)
        if isinstance(given, torch.optim.Optimizer) or not callable(given):
            raise OptimisationError(
                f"`optim` is {given!r}, but one of pyro.optim was expected: pyro.optim.Adam({{'lr': 0.01}})."
            )
        return PyroOptim(given, {})

    def __call__(self, params: Iterable[Tensor], *args: Any, **kwargs: Any) -> None:
        """Take a step on these unconstrained leaves, whose gradients are there."""
        self.take({STORE.param_name(leaf) or "": leaf for leaf in params})

    def take(self, leaves: Mapping[str, Tensor]) -> None:
        """Take a step on these leaves of the store."""
        for name, leaf in leaves.items():
            if leaf.grad is None:
                continue
            self._clip(name, leaf)
            su.optim.Optim.step(self._for(name, leaf))

    def _for(self, name: str, leaf: Tensor) -> torch.optim.Optimizer:
        found = self.optim_objs.get(leaf)
        if found is None:
            found = self._made(name, leaf)
            state = self._pending.pop(name, None)
            if state is not None:
                found.load_state_dict(state)
            self.optim_objs[leaf], self._names[leaf] = found, name
        return found

    def _made(self, name: str, leaf: Tensor) -> torch.optim.Optimizer:
        options = options_of(self.pt_optim_args, name, "optim_args")
        try:
            made = su.optim.Optim.construct(self.pt_optim_constructor, [leaf], options)
        except (TypeError, ValueError) as error:
            raise OptimisationError(f"the optimiser rejects the options {dict(options)!r}: {error}.") from error
        return made

    def _clip(self, name: str, leaf: Tensor) -> None:
        if self.pt_clip_args is None:
            return
        bounds = options_of(self.pt_clip_args, name, "clip_args")
        if "clip_norm" in bounds:
            torch.nn.utils.clip_grad_norm_(leaf, bounds["clip_norm"])
        if "clip_value" in bounds:
            torch.nn.utils.clip_grad_value_(leaf, bounds["clip_value"])

    # States.

    def get_state(self) -> dict[str, Any]:
        """The states of the torch optimisers, by parameter."""
        self.before_state()
        return {self._names[leaf]: made.state_dict() for leaf, made in self.optim_objs.items()}

    def set_state(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `get_state` gave, for each parameter when it is next met."""
        self._pending = dict(state_dict)
        for leaf, made in self.optim_objs.items():
            state = self._pending.pop(self._names[leaf], None)
            if state is not None:
                made.load_state_dict(state)
        self.after_state()

    def save(self, filename: str | os.PathLike[str]) -> None:
        """Write `get_state` to a file."""
        torch.save(self.get_state(), filename)

    def load(self, filename: str | os.PathLike[str], map_location: Any = None) -> None:
        """Read what `save` wrote; nothing in it is executed."""
        self.set_state(torch.load(filename, map_location=map_location, weights_only=True))


class _Sursum(PyroOptim):
    """One of `sursum.optim`."""

    def __init__(self, given: su.optim.Optim) -> None:
        super().__init__(type(given).make, {})
        self._given = given

    def _made(self, name: str, leaf: Tensor) -> torch.optim.Optimizer:
        return self._given.build({name: leaf})

    def _clip(self, name: str, leaf: Tensor) -> None:
        self._given.clip([leaf])


def options_of(given: Options, name: str, what: str) -> Mapping[str, Any]:
    """The options of a parameter: a mapping, or what a function of its name returns (of module and path, if it takes two)."""
    if not callable(given):
        return given
    code = getattr(given, "__code__", None)
    count = code.co_argcount if code is not None else 1
    module, _, path = name.rpartition(SEPARATOR)
    found = given(module, path) if count == 2 else given(name)
    if not isinstance(found, Mapping):
        raise OptimisationError(f"`{what}` gave {found!r} for parameter {name!r}, but must give a mapping: {{'lr': 0.01}}.")
    return found
