"""Pyro's primitives: `sample`, `param`, `module`, `plate` and the rest, with Pyro's signatures."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

import sursum as su
from sursum.compat.pyro.plates import open_plates, plate, sized
from sursum.compat.pyro.running import own_parameters, put_into
from sursum.compat.pyro.store import STORE, Init, ParamStoreDict, param_with_module_name
from sursum.errors import PlateError, SiteError


def sample(
    name: str,
    fn: Any,
    *args: Any,
    obs: Any = None,
    obs_mask: Tensor | bool | None = None,
    infer: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Tensor:
    """A random value from `fn`, or an observation of it.

    Args:
        name: the site's name.
        fn: a distribution; or a function, which is called with `args` and `kwargs` and has no density.
        obs: the observed value.
        obs_mask: which elements of `obs` were observed; the others are drawn, at the site ``<name>_unobserved``.
        infer: settings of the site for inference.

    Example:
        >>> import torch, sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> float(pyro.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(2.0)))
        2.0
    """
    if obs_mask is not None:
        return _partly_observed(name, fn, obs, obs_mask, infer)
    if not isinstance(fn, Distribution) and callable(fn):
        site = su.handlers.Sample(name=name, fn=partial(fn, *args, **kwargs), infer=dict(infer or {}))
        drawn: Tensor = su.handlers.perform(site).value
        return drawn
    if args or kwargs:
        raise SiteError(f"site {name!r}: a distribution is not called with arguments: write sample({name!r}, fn, obs=…).")
    value = _as_value(obs, fn)
    if not isinstance(fn, Distribution):
        return su.sample(name, fn, value, infer=infer)  # which says what is wrong
    data = value.shape[: value.dim() - len(fn.event_shape)] if isinstance(value, Tensor) else ()
    with sized(fn.batch_shape, data):
        return su.sample(name, fn, value, infer=infer)


def _as_value(value: Any, fn: Any) -> Any:
    """A number as a tensor that `fn` can score."""
    if isinstance(value, (bool, int, float)):
        discrete = bool(getattr(getattr(fn, "support", None), "is_discrete", False))
        return torch.tensor(value) if discrete else torch.tensor(float(value))
    return value


def _partly_observed(name: str, fn: Distribution, obs: Any, obs_mask: Tensor | bool, infer: Mapping[str, Any] | None) -> Tensor:
    if not isinstance(fn, Distribution):
        raise SiteError(f"site {name!r} has `obs_mask`, which needs a distribution, and its fn is {fn!r}.")
    seen = torch.as_tensor(obs_mask)
    with su.mask(mask=seen):
        observed = sample(f"{name}_observed", fn, obs=obs, infer=infer)
    with su.mask(mask=~seen):
        drawn = sample(f"{name}_unobserved", fn, infer=infer)
    events = len(fn.event_shape)
    value = torch.where(seen.reshape(seen.shape + (1,) * events), observed, drawn)
    return deterministic(name, value, event_dim=events)


def param(
    name: str,
    init_tensor: Init = None,
    constraint: constraints.Constraint = constraints.real,
    event_dim: int | None = None,
) -> Tensor:
    """A parameter, kept in the global store; the first read makes it.

    Example:
        >>> import torch, sursum.compat.pyro as pyro
        >>> pyro.clear_param_store()
        >>> pyro.param("loc", torch.tensor(0.5))
        tensor(0.5000, requires_grad=True)
    """
    if init_tensor is None and name in STORE:
        constraint = STORE.constraint_of(name)
    return su.param(name, partial(STORE.read, name, init_tensor, constraint, event_dim), constraint, event_dim)


def deterministic(name: str, value: Tensor, event_dim: int | None = None) -> Tensor:
    """Record a value under a name; it adds nothing to the log density."""
    return su.deterministic(name, value, event_dim)


def factor(name: str, log_factor: Tensor, *, has_rsample: bool | None = None) -> None:
    """Add a term to the log density. In a guide it is a term of log q, whether or not `has_rsample` says so."""
    with sized(log_factor.shape) if isinstance(log_factor, Tensor) else nullcontext():
        su.factor(name, log_factor)


def module(name: str, nn_module: nn.Module, update_module_params: bool = False) -> nn.Module:
    """A network whose parameters are read through the store, as ``<name>$$$<path>``.

    While the program runs, `nn_module` itself holds the values, whether they are lifted, trained, or held: the result may be
    dropped, as Pyro's examples do.

    Args:
        name: the prefix of the names.
        nn_module: the network.
        update_module_params: where the store has other values than the network (those of a file), write them into it.

    Example:
        >>> import torch, sursum.compat.pyro as pyro
        >>> pyro.clear_param_store()
        >>> net = pyro.module("net", torch.nn.Linear(2, 1))
        >>> list(pyro.get_param_store().keys())
        ['net$$$weight', 'net$$$bias']
    """
    if not isinstance(nn_module, nn.Module):
        raise SiteError(f"module {name!r} must be a torch.nn.Module, and is {nn_module!r}.")
    values: dict[int, Tensor] = {}
    lifted = False
    for path, parameter in own_parameters(nn_module).items():
        if not parameter.requires_grad:
            continue
        full = param_with_module_name(name, path)
        kept = STORE.leaves.get(full)
        if update_module_params and kept is not None and kept is not parameter and kept.shape == parameter.shape:
            with torch.no_grad():
                parameter.copy_(kept)
            STORE.place(full, parameter)
            kept = parameter
        out = su.handlers.perform(
            su.handlers.Param(name=full, initial=parameter if kept is None else kept, owner=nn_module, plates=())
        )
        if isinstance(out, su.handlers.Param):
            STORE.register(full, parameter, nn_module)
        else:
            lifted = True
        values[id(parameter)] = out.value
    if all(id(value) == key for key, value in values.items()):
        return nn_module
    placed = put_into(nn_module, values)
    if placed and not lifted:
        return nn_module
    memo: dict[int, Any] = dict(values)
    memo |= {id(value): value for value in values.values()}
    return copy.deepcopy(nn_module, memo)


def random_module(name: str, nn_module: nn.Module, prior: Any, *args: Any, **kwargs: Any) -> Callable[..., nn.Module]:
    """A program that draws a network's parameters from priors and gives the network that has them.

    Args:
        prior: a distribution for every parameter, or a mapping from their paths in the network.
    """
    if isinstance(prior, Mapping):
        prior = {param_with_module_name(name, path): one for path, one in prior.items()}
    lifted: Callable[..., nn.Module] = su.lift(partial(module, name, nn_module), prior)
    return lifted


@contextmanager
def plate_stack(prefix: str, sizes: Sequence[int], rightmost_dim: int = -1) -> Iterator[None]:
    """Plates of these sizes, the last one at `rightmost_dim`, named ``<prefix>_0`` and so on from the right.

    Example:
        >>> import sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> with pyro.plate_stack("p", (2, 3)):
        ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
        >>> x.shape
        torch.Size([2, 3])
    """
    if rightmost_dim >= 0:
        raise PlateError(f"plate_stack has rightmost_dim {rightmost_dim}. Plates count from the right: give a negative one.")
    with ExitStack() as stack:
        for i, size in enumerate(reversed(tuple(sizes))):
            stack.enter_context(plate(f"{prefix}_{i}", size, dim=rightmost_dim - i))
        yield


def subsample(data: Tensor, event_dim: int) -> Tensor:
    """The rows of whole data that are present in the open plates.

    Args:
        data: whose dimensions left of the last `event_dim` are those of the plates, each whole or of size 1, or present
            already.

    Example:
        >>> import torch, sursum.compat.pyro as pyro
        >>> with pyro.plate("data", 4, subsample=torch.tensor([1, 3])):
        ...     pyro.subsample(torch.arange(4.0), event_dim=0)
        tensor([1., 3.])
    """
    for frame in open_plates():
        if frame.dim is None or frame.indices is None:
            continue
        at = data.dim() - event_dim + frame.dim
        if at >= 0 and data.shape[at] == frame.size and frame.size != len(frame.indices):
            data = data.index_select(at, frame.indices)
    return data


def clear_param_store() -> None:
    """Forget every parameter of the global store."""
    STORE.clear()


def get_param_store() -> ParamStoreDict:
    """The global store."""
    return STORE


def set_rng_seed(rng_seed: int) -> None:
    """Seed the generators of torch, Python and NumPy."""
    torch.manual_seed(rng_seed)
    random.seed(rng_seed)
    np.random.seed(rng_seed % 2**32)


def enable_validation(is_validate: bool = True) -> None:
    """Switch the checks at sites on or off."""
    su.enable_validation(is_validate)


@contextmanager
def validation_enabled(is_validate: bool = True) -> Iterator[None]:
    """Switch the checks at sites on or off inside a `with` block."""
    with su.enable_validation(is_validate):
        yield


def barrier(data: Any) -> Any:
    """The data: nothing is lazy here."""
    return data
