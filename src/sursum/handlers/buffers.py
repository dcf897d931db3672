"""`Buffers`: what layers in training mode write to, such as running averages, in the state of a run."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import field
from typing import Any

from torch import Tensor, nn

from sursum.common.torch_private import NormBase
from sursum.core.runtime import Messenger, P, R, handler


@handler
class Buffers(Messenger[P, R]):
    """Layers in training mode read and update the buffers in `held`, by dotted name, and never those of the user's network.

    Layers in evaluation mode read them as well. A buffer that is not in `held` is copied into it, before anything is written.
    A layer may write into a buffer, as batch norm does, or give its attribute a new tensor.

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

    lent: list[tuple[nn.Module, str, Tensor]] = field(init=False, repr=False, default_factory=list)

    def buffer(self, name: str, own: Tensor, writes: bool) -> Tensor | None:
        self._take_back()
        if name not in self.held:
            if not writes:
                return None
            self.held[name] = own.clone()
        return self.held[name] if self.live or not writes else self.held[name].clone()

    def network(self, name: str, net: Any) -> Any:
        if self.live and isinstance(net, nn.Module):
            ours = {id(value): value for value in self.held.values()}
            for part in net.modules():
                if part.training:
                    found = part.named_buffers(recurse=False)
                    self.lent += [(part, leaf, ours[id(value)]) for leaf, value in found if id(value) in ours]
        return net

    def finish(self) -> None:
        self._take_back()

    def _take_back(self) -> None:
        """Copy what a layer has set in the place of a buffer."""
        for part, leaf, kept in self.lent:
            now = part._buffers.get(leaf)
            if now is not None and now is not kept:
                kept.copy_(now.detach())
                part._buffers[leaf] = kept


@handler
class StartingBuffers(Messenger[P, R]):
    """Networks have these buffers, by dotted name, instead of their own; a run around it that keeps buffers starts at them."""

    keeps_buffers = False

    held: Mapping[str, Tensor] = field(default_factory=dict)

    def buffer(self, name: str, own: Tensor, writes: bool) -> Tensor | None:
        value = self.held.get(name)
        return value.clone() if value is not None and writes else value


@handler
class Averaging(Messenger[P, R]):
    """Normalising layers take each batch into their running averages with equal weight, as if they had no momentum.

    Args:
        first: whether they forget what they have seen before.
    """

    first: bool = False

    def network(self, name: str, net: Any) -> Any:
        if isinstance(net, nn.Module):
            for part in net.modules():
                if isinstance(part, NormBase) and part.training:
                    part.momentum = None
                    if self.first:
                        part.reset_running_stats()
        return net


@handler
class Networks(Messenger[P, R]):
    """Notes the buffers that each network of a program has when the program gets it."""

    found: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def network(self, name: str, net: Any) -> Any:
        if isinstance(net, nn.Module):
            self.found[name] = {path: value.detach().clone() for path, value in net.named_buffers()}
        return net
