"""Steps of SVI by sursum's captured step, on the parameters of the global store.

The loss and its gradient come from `sursum.infer.SVI`, which captures the programs once for each shape of a batch. After each
step the store has the new values; where sursum's loop does not know the optimiser's rule, Pyro's is asked.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

import sursum as su
from sursum.compat.pyro.optim.clipped_adam import ClippedAdam
from sursum.compat.pyro.optim.optim import PyroOptim
from sursum.compat.pyro.running import as_program
from sursum.compat.pyro.store import STORE
from sursum.errors import EngineWarning, SursumError


class Captured:
    """The captured steps of two programs.

    Args:
        model, guide: the programs.
        optim: changes the store's leaves; where sursum's loop knows its rule, it is taken there, and its state given back when
            somebody asks.
        loss: the bound.
    """

    def __init__(self, model: Callable[..., Any], guide: Callable[..., Any], optim: PyroOptim, loss: su.infer.ELBO) -> None:
        self._programs, self._loss = (as_program(model), as_program(guide)), loss
        self._optim = optim
        self._svi: su.infer.SVI | None = None
        self._known: dict[str, Tensor] = {}  # the numbers that the store was given
        self._options: list[tuple[torch.optim.Optimizer, dict[str, Any]]] = []  # those that Pyro's optimisers had
        self._own, self._varies = False, False
        self.usable = True

    def step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
        """Take a step, and return the loss before it; None where the programs must run themselves, from now on."""
        if self._svi is None or not self._pull(self._svi) or not self._same_options(self._svi):
            return self._begin(args, kwargs)
        loss = self._svi.step(*args, **kwargs)
        self._push(self._svi)
        return loss

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
        rule = None if self._varies else by_rule(self._optim)
        self._own = rule is not None
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                svi = su.infer.SVI(*self._programs, rule or Taking(self._optim, self._leaves), self._loss)
                self._svi = svi
                svi.evaluate_loss(*args, **kwargs)
                if self._own:
                    self._take_state(svi)
                loss = svi.step(*args, **kwargs)
            except (SursumError, RuntimeError):
                # What is wrong with a program is said where it runs by itself.
                self.usable, self._svi = False, None
                return None
        self._push(svi)
        self._options = [(made, _options(made)) for made in self._made(svi) if self._own]
        for one in said:
            if not issubclass(one.category, EngineWarning):
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
            elif self.usable:
                self.usable = False
                self.give_back()
                self._svi = None
        self._optim.before_state, self._optim.after_state = self.give_back, self._take_again
        return loss

    def _leaves(self) -> Mapping[str, Tensor]:
        return {} if self._svi is None else self._svi.params.unconstrained

    def _pull(self, svi: su.infer.SVI) -> bool:
        """Take what others have written to the store since; False if it no longer has all parameters.

        The numbers themselves are compared: what is written through `weight.data` leaves no other trace.
        """
        for name, leaf in self._leaves().items():
            kept = STORE.leaves.get(name)
            if kept is None or kept.shape != leaf.shape:
                return False
            known = self._known.get(name)
            if known is None or known.dtype is not kept.dtype or known.device != kept.device or not torch.equal(known, kept):
                with torch.no_grad():
                    leaf.copy_(kept)
        return True

    def _push(self, svi: su.infer.SVI) -> None:
        """Write the values to the store, and so to the networks whose tensors it has."""
        leaves, kept = STORE.leaves, self._known
        with torch.no_grad():
            for name, leaf in svi.params.unconstrained.items():
                theirs = leaves.get(name)
                if theirs is not None:
                    kept[name] = leaf.detach().to(theirs.dtype)
                    if leaf.requires_grad:
                        theirs.copy_(kept[name])

    # The optimiser's state, where its rule is in the loop.

    def _take_state(self, svi: su.infer.SVI) -> None:
        """Go on from the state that the first steps have left."""
        optimizer = svi.optimizer
        assert optimizer is not None
        for name, leaf in svi.params.unconstrained.items():
            kept = STORE.leaves.get(name)
            made = None if kept is None else self._optim.optim_objs.get(kept)
            if made is not None and kept is not None:
                optimizer.state[leaf] = {key: _copied(value, leaf) for key, value in made.state[kept].items()}
                optimizer.param_groups[0]["lr"] = made.param_groups[0]["lr"]

    def _made(self, svi: su.infer.SVI) -> list[torch.optim.Optimizer]:
        """Pyro's optimisers of the parameters, those that there are."""
        kept = [STORE.leaves.get(name) for name in svi.params.unconstrained]
        made = [None if leaf is None else self._optim.optim_objs.get(leaf) for leaf in kept]
        return [one for one in made if one is not None]

    def _same_options(self, svi: su.infer.SVI) -> bool:
        """Take the learning rate of Pyro's optimisers, if it has been set since; False if more than that has changed."""
        if all(made.param_groups[0].items() >= options.items() for made, options in self._options):
            return True
        rates = {made.param_groups[0]["lr"] for made, _ in self._options}
        if len(rates) > 1 or any(_options(made) | {"lr": options["lr"]} != options for made, options in self._options):
            self.give_back()
            self._varies = True
            return False
        assert svi.optimizer is not None
        svi.optimizer.param_groups[0]["lr"] = rates.pop()
        self._options = [(made, _options(made)) for made, _ in self._options]
        return True

    def _take_again(self) -> None:
        """Go on from the state that Pyro's optimisers were set to."""
        if self._svi is not None and self._own:
            self._take_state(self._svi)

    def give_back(self) -> None:
        """Write the optimiser's state to the optimisers of the store's leaves."""
        optimizer = None if self._svi is None or not self._own else self._svi.optimizer
        if optimizer is None:
            return
        for name, leaf in self._leaves().items():
            kept = STORE.leaves.get(name)
            made = None if kept is None else self._optim.optim_objs.get(kept)
            if made is not None and kept is not None:
                made.state[kept] = {key: _copied(value, kept) for key, value in optimizer.state[leaf].items()}
        rate = optimizer.param_groups[0]["lr"]
        for made, options in self._options:
            if made.param_groups[0]["lr"] == options["lr"]:  # nobody has set another since
                made.param_groups[0]["lr"] = options["lr"] = rate


_RULES: Mapping[Any, Any] = {
    torch.optim.Adam: su.optim.Adam,
    torch.optim.AdamW: su.optim.AdamW,
    torch.optim.SGD: su.optim.SGD,
    torch.optim.RMSprop: su.optim.RMSprop,
    torch.optim.Adagrad: su.optim.Adagrad,
    ClippedAdam: su.optim.ClippedAdam,
}


def by_rule(optim: PyroOptim) -> su.optim.Optim | None:
    """sursum's optimiser of the same rule for all parameters; None where the options depend on the parameter."""
    make = _RULES.get(optim.pt_optim_constructor)
    if type(optim) is not PyroOptim or make is None or callable(optim.pt_optim_args) or optim.pt_clip_args is not None:
        return None
    found: su.optim.Optim = make(dict(optim.pt_optim_args))
    return found


def _options(made: torch.optim.Optimizer) -> dict[str, Any]:
    return {key: value for key, value in made.param_groups[0].items() if key != "params"}


def _copied(value: Any, like: Tensor) -> Any:
    """A part of an optimiser's state for another tensor, in memory of its own."""
    if not isinstance(value, Tensor):
        return value
    return value.to(like.dtype if value.shape == like.shape and value.dtype.is_floating_point else value.dtype, copy=True)


class Taking(su.optim.Optim):
    """An optimiser of sursum's that hands gradients on to Pyro's.

    Args:
        optim: Pyro's.
        leaves: gives sursum's leaves by name, whose gradients are set.
    """

    make = torch.optim.SGD

    def __init__(self, optim: PyroOptim, leaves: Callable[[], Mapping[str, Tensor]]) -> None:
        self._optim, self._leaves = optim, leaves
        super().__init__({"lr": 0.0})

    def build(self, leaves: Mapping[str, Tensor]) -> torch.optim.Optimizer:
        return Handing(leaves.values(), self._optim, self._leaves)


class Handing(torch.optim.Optimizer):
    """A torch optimiser that hands gradients to the store's leaves, lets Pyro's take the step, and copies the values back."""

    def __init__(self, params: Iterable[Tensor], optim: PyroOptim, leaves: Callable[[], Mapping[str, Tensor]]) -> None:
        self._optim, self._leaves = optim, leaves
        super().__init__(list(params), {"lr": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step."""
        moved = {}
        for name, leaf in self._leaves().items():
            kept = STORE.leaves.get(name)
            if leaf.grad is not None and kept is not None:
                kept.grad = leaf.grad.to(kept.dtype)
                moved[name] = kept
        self._optim.take(moved)
        for name, kept in moved.items():
            self._leaves()[name].copy_(kept)
            kept.grad = None
