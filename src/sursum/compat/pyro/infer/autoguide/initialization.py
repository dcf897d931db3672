"""Where guides start: Pyro's functions of a site, with or without their options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sursum.infer import autoguide as ours

Init = Callable[[Any], Tensor | None]


def _or(value: Tensor | None, fallback: Init | None, site: Any) -> Tensor | None:
    return fallback(site) if value is None and fallback is not None else value


def init_to_feasible(site: Any = None) -> Any:
    """The middle of the support."""
    return ours.init_to_feasible if site is None else ours.init_to_feasible(site)


def init_to_sample(site: Any = None) -> Any:
    """A draw from the prior."""
    return ours.init_to_sample if site is None else ours.init_to_sample(site)


def init_to_median(site: Any = None, num_samples: int = 15, *, fallback: Init | None = init_to_feasible) -> Any:
    """The median of a few draws from the prior."""
    if site is None:
        return partial(init_to_median, num_samples=num_samples, fallback=fallback)
    return _or(ours.init_to_median(site), fallback, site)


def init_to_mean(site: Any = None, *, fallback: Init | None = init_to_median) -> Any:
    """The mean of the prior."""
    if site is None:
        return partial(init_to_mean, fallback=fallback)
    return _or(ours.init_to_mean(site), fallback, site)


def init_to_uniform(site: Any = None, radius: float = 2.0) -> Any:
    """Uniform in (−radius, radius) in unconstrained coordinates."""
    return partial(init_to_uniform, radius=radius) if site is None else ours.init_to_uniform(radius)(site)


def init_to_value(site: Any = None, values: Mapping[str, Any] | None = None, *, fallback: Init | None = init_to_uniform) -> Any:
    """Values by name; other sites start by `fallback`."""
    if site is None:
        return partial(init_to_value, values=values, fallback=fallback)
    held = (values or {}).get(site["name"])
    return _or(None if held is None else torch.as_tensor(held), fallback, site)


def init_to_generated(site: Any = None, generate: Callable[[], Init] = lambda: init_to_uniform) -> Any:
    """By a function that `generate` returns, made for each guide that is set up."""
    return partial(init_to_generated, generate=generate) if site is None else generate()(site)


def by_default(site: Any) -> Tensor | None:
    """Where a lifted parameter has a value of its own, there; otherwise the median of the prior."""
    if site.init is not None or site.param is not None:
        return None
    found: Tensor | None = init_to_median(site)
    return found


def by_mean(site: Any) -> Tensor | None:
    """Where a lifted parameter has a value of its own, there; otherwise the mean of the prior, or the middle of the support."""
    if site.init is not None or site.param is not None:
        return None
    found: Tensor | None = init_to_mean(site, fallback=init_to_feasible)
    return found
