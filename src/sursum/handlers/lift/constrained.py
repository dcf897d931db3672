"""Parameters that stand for constrained values: GPyTorch's, each with a constraint that its module knows, and with priors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from sursum.common.torch_private import DisableTorchFunction, without_dispatch_modes
from sursum.core.messages import Param
from sursum.errors import PriorTypeError

_RAW = "raw_"


@dataclass(frozen=True)
class View:
    """A parameter as the value that it stands for, such as `lengthscale` for `raw_lengthscale`.

    Args:
        param: the parameter of that name, value and constraint.
        raw: from the value to the parameter of the network.
        registered: the prior of the value that its module has registered; None if there is none.
    """

    param: Param
    raw: Callable[[Tensor], Tensor]
    registered: Distribution | None


def view_of(site: Param) -> View | None:
    """How a parameter of a GPyTorch module looks constrained; None for any other parameter.

    Raises:
        PriorTypeError: its module has registered a prior that is not one of a parameter's own value.
    """
    found = _find(site)
    if found is None:
        return None
    part, leaf, path = found
    bounds = part.constraint_for_parameter_name(leaf)
    named = leaf.removeprefix(_RAW) if leaf.startswith(_RAW) and hasattr(type(part), leaf.removeprefix(_RAW)) else leaf
    assert isinstance(site.initial, Tensor)
    with torch.no_grad(), DisableTorchFunction(), without_dispatch_modes():
        own = site.initial.detach()
        value = own if bounds is None else bounds.transform(own)
    stands = site.but(
        name=site.name[: len(site.name) - len(leaf)] + named,
        initial=value,
        stands_for=site.name,
        constraint=constraints.real if bounds is None else _support(bounds),
    )
    raw: Callable[[Tensor], Tensor] = _same if bounds is None else bounds.inverse_transform
    return View(stands, raw, _find_registered(site.owner, path, site))


def _same(value: Tensor) -> Tensor:
    return value


def _find(site: Param) -> tuple[Any, str, str] | None:
    """The GPyTorch module that has a parameter, the parameter's name in it, and its path from the network."""
    if not isinstance(site.owner, nn.Module) or not isinstance(site.initial, Tensor):
        return None
    for prefix, part in site.owner.named_modules():
        for leaf, own in part.named_parameters(recurse=False):
            if own is site.initial and hasattr(part, "constraint_for_parameter_name"):
                return part, leaf, f"{prefix}.{leaf}" if prefix else leaf
    return None


def _support(bounds: Any) -> constraints.Constraint:
    low, high = bounds.lower_bound.detach(), bounds.upper_bound.detach()
    below, above = bool((low > -math.inf).all()), bool((high < math.inf).all())
    lower, upper = (edge if edge.numel() > 1 else float(edge) for edge in (low, high))
    if below and above:
        return constraints.interval(lower, upper)
    if above:
        return constraints.less_than(upper)
    if not below:
        return constraints.real
    return constraints.positive if isinstance(lower, float) and lower == 0.0 else constraints.greater_than(lower)


def _find_registered(net: Any, path: str, site: Param) -> Distribution | None:
    """The prior that modules of `net` have registered for the parameter at `path`."""
    found = [prior for at, prior in _list_registered(net) if at == path]
    if len(found) > 1:
        raise PriorTypeError(f"parameter {site} has {len(found)} registered priors. Give it one: lift(…, prior={{name: …}}).")
    return found[0] if found else None


def _list_registered(net: Any) -> Iterator[tuple[str, Distribution]]:
    """The priors that modules of a network have registered, each with the path of the parameter whose value it is of."""
    if not hasattr(net, "named_priors"):
        return
    paths = {id(own): path for path, own in net.named_parameters()}
    for name, part, prior, closure, _ in net.named_priors():
        with torch.enable_grad(), DisableTorchFunction(), without_dispatch_modes():
            value = closure(part)
            leaves = _leaves(value)
        if not leaves and not value.requires_grad:
            continue  # of frozen parameters
        same = len(leaves) == 1 and _is_constrained(net, paths[id(leaves[0])], leaves[0], value)
        if not same or getattr(prior, "_transform", None) is not None:
            raise PriorTypeError(
                f"the prior {name!r} that the network has registered is not of the constrained value of one parameter, but of "
                "a function of parameters. Write its term in the program, su.factor(name, prior.log_prob(value)), and give the "
                "parameters priors by name."
            )
        yield paths[id(leaves[0])], _plain(prior)


def _plain(prior: Any) -> Distribution:
    """A prior as the distribution of torch's that its class is derived from, where the arguments are those of that."""
    for kind in type(prior).__mro__:
        if kind is not Distribution and kind.__module__.startswith("torch.distributions."):
            try:
                names: Mapping[str, Any] = vars(kind)["arg_constraints"]
                found: Distribution = kind(**{name: getattr(prior, name).detach() for name in names})
                return found
            except (TypeError, ValueError, AttributeError, KeyError):
                break
    plain: Distribution = prior
    return plain


def _is_constrained(net: Any, path: str, own: Tensor, value: Tensor) -> bool:
    """Whether `value` is the constrained value of a parameter."""
    bounds = net.constraint_for_parameter_name(path)
    with torch.no_grad(), DisableTorchFunction(), without_dispatch_modes():
        expected = own if bounds is None else bounds.transform(own)
        return expected.shape == value.shape and bool(torch.equal(expected, value))


def _leaves(value: Tensor) -> list[Tensor]:
    """The parameters that a value was computed from."""
    if value.grad_fn is None:
        return [value] if value.requires_grad else []
    found: dict[int, Tensor] = {}
    stack, seen = [value.grad_fn], {value.grad_fn}
    while stack:
        node = stack.pop()
        variable = getattr(node, "variable", None)
        if variable is not None:
            found[id(variable)] = variable
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                stack.append(child)
    return list(found.values())
