"""Draws from an explicit generator.

`torch.distributions` takes no generator, and forking the global one is not thread-safe. So a draw runs under a
dispatch mode that passes the generator to every operator that draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from sursum.common.torch_private import TorchDispatchMode, tree_leaves


class _Drawing(TorchDispatchMode):
    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator
        self._elsewhere: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        # Of a Dirichlet draw the generator is not a keyword once a mode inside has given it.
        given = kwargs.get("generator") is not None or any(isinstance(arg, torch.Generator) for arg in args)
        if torch.Tag.nondeterministic_seeded in func.tags and not given:
            return seeded_operator(func, args, kwargs, self._on(_device((args, kwargs))))
        return func(*args, **kwargs)

    def _on(self, device: torch.device) -> torch.Generator:
        """The generator itself or, for a different device, one there whose seed is drawn from it."""
        if device.type in (self._generator.device.type, "meta"):
            return self._generator
        if device not in self._elsewhere:
            seed = int(torch.randint(2**62, (), generator=self._generator, device=self._generator.device))
            self._elsewhere[device] = torch.Generator(device).manual_seed(seed)
        return self._elsewhere[device]


def seeded_operator(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], generator: torch.Generator) -> Any:
    """The result of an operator that draws, drawn from `generator`."""
    if any(argument.name == "generator" for argument in func._schema.arguments):
        return func(*args, **{**kwargs, "generator": generator})
    if hasattr(func.overloadpacket, "generator"):
        return func.overloadpacket.generator(*args, generator=generator, **kwargs)
    return func(*args, **kwargs)


def _device(arguments: Any) -> torch.device:
    """The device on which an operator with these arguments creates its result."""
    _, kwargs = arguments
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    return next((leaf.device for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)), torch.device("cpu"))


def drawing_from(generator: torch.Generator | None) -> AbstractContextManager[Any]:
    """While this is active, every draw in this thread comes from `generator`; None leaves torch's own.

    Example:
        >>> import torch
        >>> with drawing_from(torch.Generator().manual_seed(0)):
        ...     first = torch.distributions.Gamma(2.0, 1.0).sample()
        >>> with drawing_from(torch.Generator().manual_seed(0)):
        ...     bool(torch.distributions.Gamma(2.0, 1.0).sample() == first)
        True
    """
    return nullcontext() if generator is None else _Drawing(generator)


def global_seed() -> int:
    """A seed drawn from torch's global generator, like any unseeded draw of a PyTorch program."""
    seed: Tensor = torch.randint(2**62, ())
    return int(seed)
