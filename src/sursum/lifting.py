"""From a parameter and its prior to the message of the lifted site."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum.errors import DuplicateSiteError
from sursum.fitting import consult, fit
from sursum.messages import Deterministic, Param, Sample, Site
from sursum.placing import local_plates, place, plate_scale, subsampled
from sursum.runtime import Barrier, Messenger, handler, perform, recall


def propose(site: Param, key: str | None, entry: Any, hypers: dict[str, Site]) -> Sample | Param | None:
    """What `entry`, the prior that `key` names (None: the only prior), makes of the parameter `site`.

    A `Sample` to be sent outwards; a `Param` with its value where the prior is one function that draws a tensor; None
    where the prior leaves this one a parameter. `hypers` holds the sites that priors have drawn in this execution.
    """
    value = _current(site)
    plates = () if value is None else local_plates(site, value)
    with Barrier(plates=plates), _Once(known=hypers):
        prior = consult(entry, site, value)
    if prior is None or (isinstance(prior, Tensor) and key is None):
        return None if prior is None else site.but(value=prior)
    scored = isinstance(prior, Distribution)
    return place(
        Sample(
            name=site.name,
            fn=fit(prior, site, value, plates, key) if scored else entry,
            value=None if scored else prior,
            plates=plates,
            scale=plate_scale(plates),
            param=site,
            init=value if value is None else subsampled(site, value),
            generator=site.generator,
            where=site.where,
        )
    )


def again(first: Site, site: Param) -> Site:
    """A second read of a lifted parameter: the same value and no second site."""
    param = first if isinstance(first, Param) else getattr(first, "param", None)
    if isinstance(param, Param) and param.owner is not site.owner:
        raise DuplicateSiteError(
            f"parameter {site} is read from two different networks. Give the two modules different names."
        )
    return first.but(is_observed=True) if isinstance(first, Sample) else first


def _current(site: Param) -> Tensor | None:
    """The parameter's value in a store, else the program's, detached: priors see values and not the parameter itself."""
    held = recall(site.name)
    value = site.init if held is None else held
    # Reading a network's own parameter after it was lifted is a mistake that densities watch for; this is not one.
    with torch._C.DisableTorchFunction():
        return None if value is None else value.detach()


@handler
class _Once(Messenger):
    """A hyper-site of one name is drawn once in an execution, whichever prior asks."""

    known: dict[str, Site] = field(default_factory=dict)

    def handle(self, site: Site) -> Any:
        if not isinstance(site, (Sample, Deterministic)):
            return perform(site)
        if site.name not in self.known:
            self.known[site.name] = perform(site)
        return self.known[site.name]
