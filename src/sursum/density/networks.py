"""Which latent sites are parameters of modules, and which of these are weights of layers whose units can change places."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from sursum.core.messages import Sample, Site

_UNITS_OF_ITS_OWN = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
"""Layers with hidden units or heads inside, so that one of them is enough."""


def module_parameters(found: Mapping[str, Site]) -> frozenset[str]:
    """The names of the sites that are parameters of any module."""
    return frozenset(
        name
        for name, site in found.items()
        if isinstance(site, Sample) and site.param is not None and site.param.owner is not None
    )


def network_weights(found: Mapping[str, Site]) -> frozenset[str]:
    """The names of the sites that are parameters of torch's layers, in modules with units between two of them.

    A single linear layer is a regression, and a parameter of a module's own, such as the length scale of a kernel, is a
    quantity with a meaning: neither is among them.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> def weights(net):
        ...     lifted = su.lift(lambda: su.module("net", net), dist.Normal(0.0, 1.0))
        ...     return sorted(network_weights(su.poutine.trace(lifted).get_trace().nodes))
        >>> weights(nn.Linear(2, 1)), weights(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1, bias=False)))
        ([], ['net.0.bias', 'net.0.weight', 'net.2.weight'])
    """
    places: dict[str, tuple[int, nn.Module]] = {}
    for name, site in found.items():
        param = site.param if isinstance(site, Sample) else None
        if param is not None and isinstance(param.owner, nn.Module):
            for part in param.owner.modules():
                if any(own is param.initial for own in part.parameters(recurse=False)):
                    places[name] = id(param.owner), part
                    break
    owners = {owner for owner, _ in places.values()}
    layered = {key for key in owners if _is_layered([part for owner, part in places.values() if owner == key])}
    return frozenset(name for name, (owner, part) in places.items() if owner in layered and _is_layer(part))


def _is_layered(lifted: list[nn.Module]) -> bool:
    parts = {id(part): part for part in lifted}.values()
    matrices = [part for part in parts if _is_layer(part) and any(own.dim() > 1 for own in part.parameters(recurse=False))]
    return len(matrices) > 1 or any(isinstance(part, _UNITS_OF_ITS_OWN) for part in matrices)


def _is_layer(part: nn.Module) -> bool:
    """Whether a module is one of torch's layers, or of a class derived from one."""
    return any(kind.__module__.startswith("torch.nn.modules.") for kind in type(part).__mro__ if kind is not nn.Module)
