"""Find a network in a program, and the draws of its parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sursum.common.patterns import suggestion
from sursum.core.messages import Param
from sursum.errors import PredictionError
from sursum.handlers import trace
from sursum.handlers.buffers import Networks


def network_draws(
    name: str,
    net: nn.Module | None,
    sites: Mapping[str, Tensor],
    run: Callable[[], Any] | None,
    buffers: Mapping[str, Tensor],
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network named `name` in a program, and the draws of its parameters and buffers by path, (draw, *shape).

    Args:
        name: the name in ``module(name, net)``.
        net: the network; None looks for it in an execution of the program.
        sites: draws of (chain, draw, *shape).
        run: one execution of the program, at one of the draws.
        buffers: draws of the buffers of networks, likewise.

    Raises:
        PredictionError: the network does not exist, or none of it was lifted.
    """
    held: dict[str, Tensor] = {}
    if net is None:
        if run is None:
            raise PredictionError(
                "this posterior has no program that contains the network: it was loaded from a file, or made by "
                f"hand. Give the network: posterior.module({name!r}, net)."
            )
        net, held = _find(name, run)
    own = dict(net.named_parameters())
    paths = {path: f"{name}.{path}" if name else path for path in own}
    draws = {path: sites[site].flatten(0, 1) for path, site in paths.items() if site in sites}
    if not draws:
        raise PredictionError(
            f"the posterior has no draws of a parameter of network {name!r}: none of them was lifted."
            f"{suggestion(next(iter(paths.values()), name), sites)}"
        )
    # Parameters that were not lifted have one value for all draws: a handler's, or the network's own.
    count = len(next(iter(draws.values())))
    named = ((path, f"{name}.{path}" if name else path) for path, _ in net.named_buffers())
    written = {path: buffers[full].flatten(0, 1) for path, full in named if full in buffers}
    differ = {path for path, value in written.items() if not torch.equal(value, value[:1].expand_as(value))}
    draws |= {path: value for path, value in written.items() if path in differ}
    net = with_buffers(net, {path: value[0] for path, value in written.items() if path not in differ})
    kept = {path: value for path, value in held.items() if path not in draws and value is not own[path]}
    return net, draws | {path: value.detach().expand(count, *value.shape) for path, value in kept.items()}


def _find(name: str, run: Callable[[], Any]) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network named `name` in an execution, and the values of its parameters that remained parameters."""
    with trace() as recorder, Networks() as networks, torch.no_grad():
        try:
            run()
        except Exception:
            if name not in networks.found:
                raise
            # It got the network and failed later, such as at a plate with all rows where it is called with those of a batch.
    names: dict[str, None] = {}
    net: nn.Module | None = None
    values: dict[str, Tensor] = {}
    for site in recorder.trace.values():
        param = site if isinstance(site, Param) else getattr(site, "param", None)
        if param is None or param.owner is None or param.stands_for is not None:
            continue
        path = next(path for path, value in param.owner.named_parameters() if value is param.initial)
        called = param.name[: len(param.name) - len(path)].rstrip(".")
        names[called] = None
        if called == name:
            net = param.owner
            if isinstance(site, Param):
                values[path] = site.value
    if net is None:
        known = suggestion(name, names) if names else " It has none: networks are read by module(name, net)."
        raise PredictionError(f"the program has no network named {name!r}.{known}")
    return with_buffers(net, networks.found.get(name, {})), values


def with_buffers(net: nn.Module, buffers: Mapping[str, Tensor]) -> nn.Module:
    """The network with these buffers, those that a run has updated; itself where it has them already."""
    own = dict(net.named_buffers())
    given = {path: value.to(own[path]) for path, value in buffers.items() if path in own}
    changed = [path for path, value in given.items() if not torch.equal(own[path], value)]
    if not changed:
        return net
    memo: dict[int, Any] = {id(own[path]): given[path] for path in changed}
    memo |= {id(parameter): parameter for parameter in net.parameters()}
    return copy.deepcopy(net, memo)
