"""Where a guide starts: functions of a latent site for `init_loc_fn`, each giving a value on the site's support.

Without one a guide starts at the values that sites carry (a lifted parameter's own), and where there is none at zero in
unconstrained coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from sursum.core.messages import Sample
from sursum.core.scope import current_generator
from sursum.density.init_values import carry_over
from sursum.density.layout import site_dtype
from sursum.density.unconstrain import continuous_support
from sursum.distributions.bijections import bijection
from sursum.distributions.randomness import drawing_from
from sursum.errors import GuideError

InitLoc = Callable[[Sample], Tensor | None]

_DRAWS = 15


def init_to_feasible(site: Sample) -> Tensor | None:
    """Zero in unconstrained coordinates: the middle of an interval, 1 on the positive numbers."""
    onto = bijection(continuous_support(site))
    shape = onto.inverse_shape(site.fn.batch_shape + site.fn.event_shape)
    value: Tensor = onto(torch.zeros(shape, dtype=site_dtype(site)))
    return value


def init_to_sample(site: Sample) -> Tensor | None:
    """A draw from the prior."""
    with drawing_from(current_generator()):
        return _draw(site, ())


def init_to_median(site: Sample) -> Tensor | None:
    """The median of a few draws from the prior, element by element; as `init_to_feasible` where the support has no such
    vector: medians of the parts of a simplex do not sum to one."""
    with drawing_from(current_generator()):
        draws = _draw(site, (_DRAWS,))
    if draws is None:
        return None
    median = draws.median(0).values
    return median if bool(continuous_support(site).check(median).all()) else init_to_feasible(site)


def init_to_mean(site: Sample) -> Tensor | None:
    """The mean of the prior, if it has a finite one."""
    try:
        mean: Tensor = site.fn.mean
    except (NotImplementedError, AttributeError):
        return None
    return mean if bool(torch.isfinite(mean).all()) else None


def init_to_value(values: Mapping[str, Tensor]) -> InitLoc:
    """The values of a mapping, by site name; other sites start as without `init_loc_fn`."""
    if not isinstance(values, Mapping):
        raise GuideError(f"init_to_value was given {values!r}, and needs a mapping from the names of sites to values.")
    return lambda site: values.get(site.name)


def init_to_uniform(radius: float = 2.0) -> InitLoc:
    """Uniform in (−radius, radius) in unconstrained coordinates."""

    def init(site: Sample) -> Tensor:
        onto = bijection(continuous_support(site))
        shape = onto.inverse_shape(site.fn.batch_shape + site.fn.event_shape)
        with drawing_from(current_generator()):
            free = torch.empty(shape, dtype=site_dtype(site)).uniform_(-radius, radius)
        value: Tensor = onto(free)
        return value

    return init


def starting_point(site: Sample, onto: Any, free_shape: torch.Size, init_loc_fn: InitLoc | None) -> Tensor:
    """Where a guide starts for `site`, in unconstrained coordinates.

    Raises:
        GuideError: `init_loc_fn` returns a value of the wrong shape, or outside the support.
    """
    with torch.no_grad():
        given = None if init_loc_fn is None else init_loc_fn(site)
        if given is not None:
            shape = site.fn.batch_shape + site.fn.event_shape
            given = torch.as_tensor(given, dtype=site_dtype(site))
            free: Tensor | None = carry_over(site.but(init=given), onto)
            if free is None:
                raise GuideError(
                    f"the initial value for site {site} has shape {tuple(given.shape)} or lies outside of the support "
                    f"{site.fn.support!r}. Give a value of shape {tuple(shape)} inside the support."
                )
            return free
        free = carry_over(site, onto)
        return torch.zeros(free_shape, dtype=site_dtype(site)) if free is None else free


def _draw(site: Sample, shape: tuple[int, ...]) -> Tensor | None:
    try:
        draws: Tensor = site.fn.sample(torch.Size(shape))
    except NotImplementedError:
        return None
    return draws if bool(torch.isfinite(draws).all()) else None
