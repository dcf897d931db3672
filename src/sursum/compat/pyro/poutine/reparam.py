"""`reparam`, with Pyro's strategies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

import sursum as su
from sursum.compat.pyro.poutine.messenger import Fn, Handler
from sursum.handlers import Sample, perform


class reparam(Handler, su.reparam):
    """Draw latent sites in other coordinates.

    Args:
        config: reparameterisers by site name; or a function from a site to one, or to None, such as `AutoReparam()`.
    """

    def __init__(self, fn: Fn = None, config: Any = None) -> None:
        super().__init__(fn, config=_config(config))

    def finish(self) -> None:
        """Entries that no site takes are left unused, as in Pyro."""


def _config(config: Any) -> Any:
    if isinstance(config, Mapping):
        return {name: _strategy(one) for name, one in config.items() if one is not None}
    if callable(config):
        configure = getattr(config, "configure", config)

        def choose(site: Sample) -> Any:
            found = configure(site)
            return None if found is None else _strategy(found)

        return choose
    return config


def _strategy(one: Any) -> Any:
    """A reparameteriser in sursum's form: a function from the site to its value."""
    if not hasattr(one, "apply"):
        return one

    def value(site: Sample) -> Tensor:
        message = {"name": site.name, "fn": site.fn, "value": site.value, "is_observed": site.is_observed}
        made = one.apply(message)
        if made["value"] is not None:
            found: Tensor = made["value"]
            return found
        auxiliary = site.but(name=f"{site.name}_{type(one).__name__}", fn=made["fn"])
        drawn: Tensor = perform(auxiliary).value
        return drawn

    return value
