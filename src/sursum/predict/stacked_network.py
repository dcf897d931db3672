"""Copies of a network in which some parameters hold many values, as buffers of (draw, *shape); and copies at one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from sursum.core.module import copy_network
from sursum.errors import PredictionError


@dataclass(frozen=True)
class Origin:
    """What a network's parameters were before they were stacked.

    Args:
        trained: by path, whether the parameter required a gradient; tied parameters have one path.
        order: by path of a module, the names of its own parameters in order.
    """

    trained: Mapping[str, bool]
    order: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, net: nn.Module) -> Origin:
        order = {path: tuple(part._parameters) for path, part in net.named_modules()}
        return cls({path: value.requires_grad for path, value in net.named_parameters()}, order)


def stack(net: nn.Module, draws: Mapping[str, Tensor]) -> nn.Module:
    """A copy of `net` that shares nothing with it, in which the parameters of these paths are buffers with all draws.

    Raises:
        PredictionError: the network has custom copying, which does not replace them.
    """
    own = dict(net.named_parameters())
    memo: dict[int, Any] = {
        id(value): draws[path] if path in draws else nn.Parameter(value.detach().clone(), requires_grad=False)
        for path, value in own.items()
    }
    memo |= {id(value): draws[path] if path in draws else value.detach().clone() for path, value in net.named_buffers()}
    copied = _replace(net, memo, {path: memo[id(value)] for path, value in own.items()})
    stacked = {id(value) for value in draws.values()}
    for part in copied.modules():
        held = [name for name, value in part._parameters.items() if id(value) in stacked]
        part._buffers |= {name: cast(Tensor, part._parameters.pop(name)) for name in held}
        if isinstance(part, nn.Embedding | nn.EmbeddingBag):
            part.sparse = False  # an option for storing gradients, which are dense here
    return copied


def at_values(stacked: nn.Module, values: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a stacked network with one value for each stacked path. It shares everything else, buffers that it may write
    to excepted."""
    memo: dict[int, Any] = {id(stacked.get_buffer(path)): value for path, value in values.items()}
    training = False
    for part in stacked.modules():
        training |= part.training
        if part.training:
            memo |= {id(buffer): buffer.clone() for buffer in part.buffers(recurse=False) if id(buffer) not in memo}
    return copy_network(stacked, memo, copied_leaves=training)


def as_network(stacked: nn.Module, values: Mapping[str, Tensor], origin: Origin) -> nn.Module:
    """A copy of a stacked network with one value for each stacked path, as parameters that can be trained further."""
    fresh = lambda value, path: nn.Parameter(value.detach().clone(), requires_grad=origin.trained[path])
    one = lambda value, path: fresh(value, path) if path in origin.trained else value.detach().clone()
    memo: dict[int, Any] = {id(stacked.get_buffer(path)): one(value, path) for path, value in values.items()}
    drawn = {id(memo[id(stacked.get_buffer(path))]) for path in values if path in origin.trained}
    memo |= {id(value): fresh(value, path) for path, value in stacked.named_parameters()}
    memo |= {id(buffer): buffer.detach().clone() for buffer in stacked.buffers() if id(buffer) not in memo}
    copied = copy_network(stacked, memo, copied_leaves=True)
    for path, part in copied.named_modules():
        moved = {name: part._buffers.pop(name) for name, value in list(part._buffers.items()) if id(value) in drawn}
        held: dict[str, Any] = {**part._parameters, **moved}
        part._parameters.clear()
        part._parameters.update({name: held[name] for name in origin.order[path]})
    return copied


def relink(stacked: nn.Module, before: Sequence[Tensor], after: Sequence[Tensor]) -> nn.Module:
    """A stacked network after its tensors were converted: references elsewhere, in lists or attributes, follow."""
    memo: dict[int, Any] = {id(value): value for value in after}
    memo |= {id(old): new for old, new in zip(before, after, strict=True)}
    return copy_network(stacked, memo, copied_leaves=False)


def tensors_of(net: nn.Module) -> Iterator[Tensor]:
    """The parameters and buffers of a network, in an order that a conversion keeps."""
    for part in net.modules():
        for held in (part._parameters, part._buffers):
            yield from (value for value in held.values() if value is not None)


def keeps_references(net: nn.Module) -> bool:
    """Whether a network holds a parameter in an ordinary attribute too, which `torch.func.functional_call` does not replace."""
    own = {id(value) for value in tensors_of(net)}
    seen: set[int] = set()

    def holds(value: Any) -> bool:
        if isinstance(value, Tensor):
            return id(value) in own
        if id(value) in seen or isinstance(value, (str, bytes, int, float, torch.Size, nn.Module, type)):
            return False
        seen.add(id(value))
        if isinstance(value, Mapping):
            return any(holds(item) for item in value.values())
        if isinstance(value, (list, tuple, set, frozenset)):
            return any(holds(item) for item in value)
        return hasattr(value, "__dict__") and not callable(value) and any(holds(item) for item in vars(value).values())

    theirs = ("_parameters", "_buffers", "_modules", "_flat_weights")  # recurrent layers keep the last in step themselves
    return any(holds(v) for part in net.modules() for name, v in vars(part).items() if name not in theirs)


def _replace(net: nn.Module, memo: dict[int, Any], wanted: Mapping[str, Tensor]) -> nn.Module:
    copied = copy_network(net, memo, copied_leaves=True)
    now = {path: part._parameters[name] for path in wanted for part, name in [_place(copied, path)]}
    lost = [path for path, value in wanted.items() if now.get(path) is not value]
    if lost:
        raise PredictionError(
            f"the parameters {', '.join(map(repr, lost))} of the network cannot be replaced, because {type(net).__name__} has "
            "custom copying. Use torch.func.functional_call with draws of the posterior."
        )
    return copied


def _place(net: nn.Module, path: str) -> tuple[nn.Module, str]:
    where, _, name = path.rpartition(".")
    return net.get_submodule(where), name
