"""`random_module`: a network with priors on its parameters, as a program that returns it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from sursum.core.module import module
from sursum.handlers.lift.lift import lift
from sursum.handlers.lift.resolve import Prior


def random_module(name: str, net: nn.Module, prior: Prior, *, frozen: bool = False) -> lift:
    """A program that draws the parameters of `net` from `prior` and returns a network with these values.

    Args:
        name: the prefix of the sites' names.
        net: the network; it is not changed.
        prior: as for `lift`; the keys of a mapping are relative to the network.
        frozen: lift parameters with ``requires_grad=False`` as well.

    Returns:
        A program without arguments; each execution returns a network with new weights.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> draw = su.random_module("net", torch.nn.Linear(2, 1), {"weight": dist.Normal(0.0, 1.0)})
        >>> bool((draw()(torch.ones(2)) != draw()(torch.ones(2))).all())
        True
    """
    if isinstance(prior, Mapping):
        prior = {f"{name}.{key}" if name else key: entry for key, entry in prior.items()}
    program: Any = partial(module, name, net)
    return lift(program, prior, frozen=frozen)
