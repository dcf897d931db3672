"""Optimisers for `SVI` and `Fit`: those of `torch.optim` with their options, gradient clipping and a learning-rate schedule.

Each class takes the options of the torch optimiser of the same name, as a mapping (as in Pyro) or by keyword.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from sursum.common.reprs import text
from sursum.common.settings import real_number
from sursum.common.shown import abbreviate
from sursum.common.torch_private import take_step, without_dynamo
from sursum.errors import OptimisationError, SursumError

Options = Mapping[str, Any] | Callable[[str], Mapping[str, Any]]
Scheduler = LRScheduler | ReduceLROnPlateau


class Optim:
    """A torch optimiser without its parameters.

    Args:
        options: options of the torch optimiser, or a function from a parameter's name to its options.
        clip_norm: the maximum norm of the whole gradient; a larger gradient is scaled down to it.
        clip_value: the maximum absolute value of an element of the gradient.
        scheduler: a function from the torch optimiser to a learning-rate scheduler, stepped once per step:
            ``lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1000)``.
        more: further options.

    Raises:
        OptimisationError: options that the torch optimiser does not have or rejects; a clipping bound that is not a
            positive number; a schedule that is not a function.

    Example:
        >>> optim = Adam({"lr": 0.01}, clip_norm=10.0)
        >>> optim.build({"s": torch.zeros(2, requires_grad=True)}).param_groups[0]["lr"]
        0.01
    """

    make: ClassVar[Any] = None

    def __init__(
        self,
        options: Options | None = None,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        scheduler: Callable[[torch.optim.Optimizer], Scheduler] | None = None,
        **more: Any,
    ) -> None:
        for name, bound in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if bound is not None:
                real_number(name, bound, OptimisationError, "leave it out for no clipping", above=0, finite=False)
        name = type(self).__name__
        if options is not None and not isinstance(options, Mapping) and not callable(options):
            raise OptimisationError(
                f"the options of {name} are {options!r}, but must be a mapping, or a function from a parameter's name to one: "
                f'su.optim.{name}({{"lr": 0.01}}), or su.optim.{name}(lr=0.01).'
            )
        if scheduler is not None and not callable(scheduler):
            raise OptimisationError(
                f"`scheduler` is {scheduler!r}, but must be a function from a torch optimiser to a schedule: "
                "lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1000)."
            )
        self.options, self.more = options, more
        self.clip_norm, self.clip_value, self.scheduler = clip_norm, clip_value, scheduler
        if not callable(options):
            self.build({"": torch.zeros(1, requires_grad=True)})  # so that wrong options raise here, not after an hour

    def __repr__(self) -> str:
        options = self.options if isinstance(self.options, Mapping) else {}
        named = {"clip_norm": self.clip_norm, "clip_value": self.clip_value, "scheduler": self.scheduler}
        every = {**options, **self.more, **{name: value for name, value in named.items() if value is not None}}
        by_name = [text(self.options)] if callable(self.options) else []
        return f"{self._title()}({', '.join([*by_name, *(f'{name}={text(value)}' for name, value in every.items())])})"

    def _title(self) -> str:
        return type(self).__name__

    def build(self, leaves: Mapping[str, Tensor]) -> torch.optim.Optimizer:
        """The torch optimiser for these parameters, given by name."""
        if callable(self.options):
            groups = [{"params": [leaf], **_mapping(self.options(name), name)} for name, leaf in leaves.items()]
            return self._make(groups, self.more)
        return self._make(list(leaves.values()), {**(self.options or {}), **self.more})

    @staticmethod
    def construct(make: Callable[..., torch.optim.Optimizer], params: Any, options: Mapping[str, Any]) -> torch.optim.Optimizer:
        """``make(params, **options)``, a torch optimiser, without the import of `torch._dynamo` that this takes."""
        with without_dynamo():
            return make(params, **options)

    @staticmethod
    def step(optimizer: torch.optim.Optimizer) -> None:
        """Take a step of a torch optimiser along the gradients that are there, as its own `step` does.

        That imports `torch._dynamo` in the first step of a process, two seconds; this does not.

        Example:
            >>> s = torch.tensor(1.0, requires_grad=True)
            >>> optimizer, s.grad = SGD(lr=0.5).build({"s": s}), torch.tensor(3.0)
            >>> Optim.step(optimizer)
            >>> s
            tensor(-0.5000, requires_grad=True)
        """
        take_step(optimizer)

    def clip(self, leaves: Iterable[Tensor]) -> None:
        """Clip the gradients of these parameters, as the settings say."""
        graded = [leaf for leaf in leaves if leaf.grad is not None]
        if self.clip_value is not None:
            torch.nn.utils.clip_grad_value_(graded, self.clip_value)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(graded, self.clip_norm)

    def _make(self, params: Any, options: Mapping[str, Any]) -> torch.optim.Optimizer:
        make = type(self).make
        known = [name for name in inspect.signature(make).parameters if name != "params"]
        unknown = [name for name in options if name not in known]
        if unknown:
            raise OptimisationError(
                f"torch.optim.{make.__name__} has no option {', '.join(map(repr, unknown))}. Its options are "
                f"{', '.join(known)}."
            )
        try:
            optimizer = self.construct(make, params, options)
        except (TypeError, ValueError) as error:
            raise OptimisationError(
                f"torch.optim.{make.__name__} rejects the options {dict(options)!r}: {error}. Change them: "
                f'su.optim.{type(self).__name__}({{"lr": 0.01}}).'
            ) from error
        return optimizer


def _mapping(found: Any, name: str) -> Mapping[str, Any]:
    """The options of a parameter as returned by a function."""
    if not isinstance(found, Mapping):
        raise OptimisationError(
            f"the options of parameter {name!r} are {found!r}, but must be a mapping: have the function return {{'lr': 0.01}}."
        )
    return found


class Adam(Optim):
    """`torch.optim.Adam`; see `Optim` for how it is used."""

    make = torch.optim.Adam


class AdamW(Optim):
    """`torch.optim.AdamW`; see `Optim` for how it is used."""

    make = torch.optim.AdamW


class Adamax(Optim):
    """`torch.optim.Adamax`; see `Optim` for how it is used."""

    make = torch.optim.Adamax


class NAdam(Optim):
    """`torch.optim.NAdam`; see `Optim` for how it is used."""

    make = torch.optim.NAdam


class RAdam(Optim):
    """`torch.optim.RAdam`; see `Optim` for how it is used."""

    make = torch.optim.RAdam


class Adagrad(Optim):
    """`torch.optim.Adagrad`; see `Optim` for how it is used."""

    make = torch.optim.Adagrad


class Adadelta(Optim):
    """`torch.optim.Adadelta`; see `Optim` for how it is used."""

    make = torch.optim.Adadelta


class RMSprop(Optim):
    """`torch.optim.RMSprop`; see `Optim` for how it is used."""

    make = torch.optim.RMSprop


class Rprop(Optim):
    """`torch.optim.Rprop`; see `Optim` for how it is used."""

    make = torch.optim.Rprop


class ASGD(Optim):
    """`torch.optim.ASGD`; see `Optim` for how it is used."""

    make = torch.optim.ASGD


class SGD(Optim):
    """`torch.optim.SGD`; see `Optim` for how it is used."""

    make = torch.optim.SGD


class ClippedAdam(Optim):
    """`torch.optim.Adam` with every element of the gradient clipped, and a learning rate that shrinks at each step.

    Args:
        options: those of Adam, and two more: `clip_norm`, the maximum absolute value of an element of the gradient
            (default 10), and `lrd`, the factor of the learning rate per step (default 1).
    """

    make = torch.optim.Adam

    def __init__(self, options: Mapping[str, Any] | None = None, **more: Any) -> None:
        if options is not None and not isinstance(options, Mapping):
            raise OptimisationError(
                f'the options of ClippedAdam are {options!r}, but must be a mapping: su.optim.ClippedAdam({{"lr": 0.01}}).'
            )
        given = {**(options or {}), **more}
        clip, decay = given.pop("clip_norm", 10.0), given.pop("lrd", 1.0)
        real_number("lrd", decay, OptimisationError, "the learning rate is multiplied by it", above=0)
        schedule = None if decay == 1.0 else partial(torch.optim.lr_scheduler.ExponentialLR, gamma=decay)
        super().__init__(given, clip_value=clip, scheduler=schedule)


class _Wrapped(Optim):
    """An optimiser made by the user's class or function."""

    def __init__(self, make: Callable[..., torch.optim.Optimizer], error: type[SursumError]) -> None:
        self._function, self._error = make, error
        super().__init__()

    def _title(self) -> str:
        return text(self._function)

    def _make(self, params: Any, options: Mapping[str, Any]) -> torch.optim.Optimizer:
        found = self._function(params, **options)
        if not isinstance(found, torch.optim.Optimizer):
            raise self._error(
                f"`optim` returned a {type(found).__name__}, but a torch optimiser was expected. "
                'Give su.optim.Adam({"lr": 0.01}), or a function from parameters to a torch optimiser.'
            )
        return found


def advance_schedule(schedule: Scheduler | None, loss: float) -> None:
    """One step of a learning-rate schedule, if there is one."""
    if isinstance(schedule, ReduceLROnPlateau):
        schedule.step(loss)
    elif schedule is not None:
        schedule.step()


def as_optim(given: Any, error: type[SursumError]) -> Optim:
    """`given`, an optimiser of this module, a torch optimiser's class, or a function from parameters to one, as `Optim`.

    Raises:
        error: it is something else, or a torch optimiser that already has parameters.
    """
    if isinstance(given, Optim):
        return given
    if isinstance(given, torch.optim.Optimizer):
        name = type(given).__name__
        raise error(
            f"`optim` is a torch {name} that already has parameters, but different ones are trained here. "
            f'Give su.optim.{name}({{"lr": …}}), or lambda params: torch.optim.{name}(params, lr=…).'
        )
    if not callable(given) or (isinstance(given, type) and issubclass(given, Optim)):
        raise error(
            f"`optim` is {abbreviate(given)}, but an optimiser was expected: su.optim.Adam({{'lr': 0.01}}), torch.optim.Adam, "
            "or a function from parameters to a torch optimiser."
        )
    return _Wrapped(given, error)


__all__ = [
    "ASGD",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ClippedAdam",
    "NAdam",
    "Optim",
    "RAdam",
    "RMSprop",
    "Rprop",
]
