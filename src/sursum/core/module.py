"""`module`: a network in a program, with its parameters read through `param`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from sursum.common.torch_private import DisableTorchFunction, NormBase
from sursum.common.user_frame import calling_line, warn
from sursum.core.messages import Param
from sursum.core.primitives import read
from sursum.core.scope import current_generator, hand_over, hold_buffer, open_plates
from sursum.errors import ModuleWarning, SiteError

M = TypeVar("M", bound=nn.Module)


def module(name: str, net: M) -> M:
    """`net` with every parameter read through `param`, under its dotted name, e.g. ``net.0.weight``.

    The result is a real module that holds these values, a copy that shares everything unchanged; `net` is never
    modified. Tied weights stay tied, parametrizations and buffers stay. Layers in training mode get copies of their
    buffers: what a forward pass writes to them (batch norm's running averages) is kept in the state of a run of `SVI` or `Fit`,
    whose result has it, and is otherwise dropped.

    Args:
        name: the prefix of the parameters' names; may be empty.
        net: the network, trained or not.

    Returns:
        A module of the same class.

    Raises:
        SiteError: a lazy network whose parameters have no shapes yet, or one on the meta device; one with
            custom copying (TorchScript).

    Warns:
        ModuleWarning: a normalising layer with running averages is in training mode.

    Example:
        >>> import sursum as su, torch
        >>> net = torch.nn.Linear(2, 1)
        >>> with su.poutine.trace() as t:
        ...     y = su.module("net", net)(torch.ones(3, 2))
        >>> list(t.trace), y.shape
        (['net.weight', 'net.bias'], torch.Size([3, 1]))
    """
    where, generator, plates = calling_line(), current_generator(), open_plates()
    if not isinstance(name, str):
        raise SiteError(f"the name of a module ({where}) must be a string, and is {name!r}: module('net', net).")
    if not isinstance(net, nn.Module):
        raise SiteError(
            f"module {name!r} ({where}) must be a torch.nn.Module, and is {net!r}. Read single tensors with param(…)."
        )
    while isinstance(original := getattr(net, "_orig_mod", None), nn.Module):
        net = cast(M, original)  # unwrap torch.compile: programs are captured, and run by our own engines
    memo: dict[int, Any] = {}
    held: dict[str, Any] = {}
    for path, parameter in net.named_parameters():
        full = f"{name}.{path}" if name else path
        if is_lazy(parameter):
            raise SiteError(
                f"parameter {full!r} ({where}) of a lazy network has no shape yet. Run the network once on data "
                "before it is used in a program."
            )
        if parameter.is_meta:
            raise SiteError(
                f"parameter {full!r} ({where}) is on the meta device, so it has a shape but no values. Allocate the network's "
                "memory, net.to_empty(device='cpu'), and load its state, before it is used in a program."
            )
        memo[id(parameter)] = held[path] = read(
            Param(
                name=full,
                initial=parameter,
                constraint=constraints.real,
                frozen=not parameter.requires_grad,
                owner=net,
                plates=plates,
                generator=generator,
                where=where,
            )
        )
    for path, part in net.named_modules():
        kept = True
        for leaf, buffer in part.named_buffers(recurse=False):
            full = ".".join(one for one in (name, path, leaf) if one)
            held_here = hold_buffer(full, buffer, part.training)
            kept = kept and held_here is not None
            memo[id(buffer)] = held_here if held_here is not None else buffer.clone() if part.training else buffer
        if part.training and isinstance(part, NormBase) and part.track_running_stats and not kept:
            warn(
                f"layer {path!r} of module {name!r} ({where}) is in training mode: it normalises by the batch, and the "
                "updates of its running averages are dropped. Call .eval() on it to use its current averages.",
                ModuleWarning,
            )
    copied = copy_network(net, memo, copied_leaves=any(part.training for part in net.modules()))
    for part in copied.modules():
        if isinstance(part, nn.Embedding | nn.EmbeddingBag):
            part.sparse = False  # an option for storing gradients, which are dense here
    now = dict(copied.named_parameters(remove_duplicate=False))
    lost = [path for path, value in held.items() if now.get(path) is not value]
    if lost:
        raise SiteError(
            f"module {name!r} ({where}): the parameters {', '.join(map(repr, lost))} cannot be replaced, because "
            f"{type(net).__name__} has custom copying. Read the parameters with param(…), "
            "and call the layers' functions (torch.nn.functional) with them."
        )
    return cast(M, hand_over(name, copied))


def copy_network(net: M, memo: dict[int, Any], *, copied_leaves: bool) -> M:
    """A deep copy of `net` in which tensors are replaced by `memo`, by their identity, wherever they are; others are shared.

    Args:
        copied_leaves: clone tensors that were not computed from others, since the network may write to them.
    """
    with _sharing(copied_leaves):
        return copy.deepcopy(net, memo)


class _sharing(TorchFunctionMode):
    """While this is active, a deep copy shares the tensors that it meets, wherever they are: lists, dictionaries, caches.

    Torch's own deep copy would make new tensors on the same storage, which captures do not recognise, and rejects tensors
    computed from parameters: hooks such as weight_norm and networks that memoise leave such tensors behind.

    Args:
        copied_leaves: clone tensors that were not computed from others, since the network may write to them.
    """

    def __init__(self, copied_leaves: bool) -> None:
        super().__init__()
        self._copied_leaves = copied_leaves

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is not Tensor.__deepcopy__:
            with DisableTorchFunction():  # copying does not count as reading a parameter, which densities detect
                return func(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            memo[id(tensor)] = tensor.clone() if self._copied_leaves and tensor.is_leaf else tensor
        return memo[id(tensor)]


class Forward:
    """A network as a program: its forward pass, with every parameter read through `param` under its own name."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __repr__(self) -> str:
        return type(self.net).__name__

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.net.forward)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return module("", self.net)(*args, **kwargs)
