"""Pyro's handlers, with Pyro's signatures, as sursum's own underneath."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.distributions import Distribution

import sursum as su
from sursum.compat.pyro.poutine.messenger import Fn, Handler
from sursum.compat.pyro.poutine.nodes import node_of
from sursum.compat.pyro.poutine.trace_struct import Trace
from sursum.compat.pyro.poutine.util import site_is_subsample
from sursum.errors import HandlerError, OptionError
from sursum.handlers import Deterministic, Sample, Site, perform


def _values(data: Any, types: tuple[str, ...] = ("sample",)) -> dict[str, Any]:
    """Values by site name, of a mapping or a trace."""
    if isinstance(data, Trace):
        return {
            name: node["value"]
            for name, node in data.nodes.items()
            if node["type"] in types and not site_is_subsample(node) and not (node.get("infer") or {}).get("_deterministic")
        }
    if not isinstance(data, Mapping):
        raise OptionError(f"values by site name were expected, a mapping or a trace, but got {data!r}.")
    return dict(data)


class condition(Handler, su.condition):
    """Observe the sites that `data`, a mapping or a trace, has values of."""

    def __init__(self, fn: Fn = None, data: Any = None) -> None:
        super().__init__(fn, data=_values(data))

    def finish(self) -> None:
        """Values that no site takes are left unused, as in Pyro."""


class do(Handler, su.do):
    """Intervene at the sites that `data` has values of."""

    def __init__(self, fn: Fn = None, data: Any = None) -> None:
        super().__init__(fn, data=_values(data))

    def finish(self) -> None:
        """Values that no site takes are left unused, as in Pyro."""


class uncondition(Handler, su.uncondition):
    """Make observed sites latent again."""

    def __init__(self, fn: Fn = None) -> None:
        super().__init__(fn)


class lift(Handler, su.lift):
    """Draw parameters from priors; a parameter of a network by its path in the store, ``net$$$fc.weight``."""

    def __init__(self, fn: Fn = None, prior: Any = None) -> None:
        if isinstance(fn, torch.nn.Module):
            fn = fn.__call__
        super().__init__(fn, prior=prior)


class substitute(Handler, su.substitute):
    """Give values to parameters."""

    def __init__(self, fn: Fn = None, data: Any = None) -> None:
        super().__init__(fn, data=_values(data, ("param",)))

    def finish(self) -> None:
        """Values that no site takes are left unused, as in Pyro."""


class scale(Handler, su.scale):
    """Multiply log densities."""

    def __init__(self, fn: Fn = None, scale: Tensor | float = 1.0) -> None:
        super().__init__(fn, scale=scale)


_MASK: ContextVar[Tensor | bool | None] = ContextVar("mask", default=None)


class mask(Handler, su.mask):
    """Leave elements out of the log density."""

    def __init__(self, fn: Fn = None, mask: Tensor | bool = True) -> None:
        super().__init__(fn, mask=mask)

    def __enter__(self) -> Any:
        outer = _MASK.get()
        self.__dict__.setdefault("_outer", []).append(outer)
        _MASK.set(self.mask if outer is None else torch.as_tensor(outer) & self.mask)
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> Any:
        _MASK.set(self.__dict__["_outer"].pop())
        return super().__exit__(kind, error, traceback)


def get_mask() -> Tensor | bool | None:
    """The mask of the `mask` handlers around this place; None without any."""
    return _MASK.get()


class seed(Handler):
    """Run the program with the global generators seeded, and restore them."""

    def __init__(self, fn: Fn = None, rng_seed: int = 0) -> None:
        super().__init__(fn)
        if isinstance(rng_seed, bool) or not isinstance(rng_seed, (int, Tensor)):
            raise OptionError(f"`rng_seed` is {rng_seed!r}, but must be an integer.")
        self.rng_seed = int(rng_seed)

    def __enter__(self) -> Any:
        states = torch.get_rng_state(), random.getstate()
        self.__dict__.setdefault("_states", []).append(states)
        torch.manual_seed(self.rng_seed)
        random.seed(self.rng_seed)
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> Any:
        state, other = self.__dict__["_states"].pop()
        torch.set_rng_state(state)
        random.setstate(other)
        return super().__exit__(kind, error, traceback)


class infer_config(Handler):
    """Add settings to sites.

    Args:
        config_fn: a function from a site to a mapping that is merged into its ``infer``.
    """

    def __init__(self, fn: Fn = None, config_fn: Callable[[Any], Mapping[str, Any]] | None = None) -> None:
        super().__init__(fn)
        if config_fn is None:
            raise OptionError("infer_config needs `config_fn`, a function from a site to a mapping.")
        self.config_fn = config_fn

    def handle(self, site: Site) -> Any:
        if isinstance(site, Sample):
            site = site.but(infer={**site.infer, **self.config_fn(node_of(site))})
        return perform(site)


class broadcast(Handler):
    """Nothing more than happens anyway: distributions are broadcast by their plates."""

    def __init__(self, fn: Fn = None) -> None:
        super().__init__(fn)


class equalize(Handler):
    """Let sites share the value of the first of them.

    Args:
        sites: names, or regular expressions of them.
        type: "sample" or "param".
        keep_dist: whether the later sites are still scored.
    """

    def __init__(self, fn: Fn = None, sites: str | list[str] = (), type: str = "sample", keep_dist: bool = False) -> None:  # type: ignore[assignment]
        super().__init__(fn)
        self.sites = [sites] if isinstance(sites, str) else list(sites)
        self.type, self.keep_dist = type, keep_dist
        self.value: Any = None

    def fresh(self) -> Self:
        made = super().fresh()
        made.value = None
        return made

    def handle(self, site: Site) -> Any:
        if site.type != self.type or not any(re.compile(one).match(site.name) for one in self.sites):
            return perform(site)
        if self.value is None:
            out = perform(site)
            self.value = out.value
            return out
        if isinstance(site, Sample) and not self.keep_dist:
            events = len(site.fn.event_shape) if isinstance(site.fn, Distribution) else None
            return perform(
                Deterministic(name=site.name, value=self.value, event_dim=events, plates=site.plates, where=site.where)
            )
        return perform(site.but(value=self.value))


def collapse(*args: Any, **kwargs: Any) -> Any:
    """Not here: Pyro's needs funsor."""
    raise HandlerError("poutine.collapse is not here: sum a conjugate site out by hand, or sample it.")


__all__ = [
    "broadcast",
    "collapse",
    "condition",
    "do",
    "equalize",
    "get_mask",
    "infer_config",
    "lift",
    "mask",
    "scale",
    "seed",
    "substitute",
    "uncondition",
]
