"""`Buffers`: what layers in training mode write to, such as running averages, in the state of a run."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import field
from typing import Any

from torch import Tensor, nn

from sursum.core.runtime import Messenger, P, R, handler


@handler
class Buffers(Messenger[P, R]):
    """Layers in training mode read and update the buffers in `held`, by dotted name, and never those of the user's network.

    Layers in evaluation mode read them as well. A buffer that is not in `held` is copied into it, before anything is written.

    Args:
        held: the buffers; updated in place.
        live: whether a run updates them; otherwise it writes to copies.

    Example:
        >>> import sursum as su, torch
        >>> net, held = torch.nn.BatchNorm1d(1), {}
        >>> with Buffers(held=held):
        ...     _ = su.module("net", net)(torch.tensor([[1.0], [3.0]]))
        >>> round(held["net.running_mean"].item(), 3), net.running_mean.item()
        (0.2, 0.0)
    """

    held: MutableMapping[str, Tensor] = field(default_factory=dict)
    live: bool = True

    def buffer(self, name: str, own: Tensor, writes: bool) -> Tensor | None:
        if name not in self.held:
            if not writes:
                return None
            self.held[name] = own.clone()
        return self.held[name] if self.live or not writes else self.held[name].clone()


@handler
class Networks(Messenger[P, R]):
    """Notes the buffers that each network of a program has when the program gets it."""

    found: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def network(self, name: str, net: Any) -> Any:
        if isinstance(net, nn.Module):
            self.found[name] = {path: value.detach().clone() for path, value in net.named_buffers()}
        return net
