"""Strategies: which reparameteriser a site gets. `configure` answers for a site; called with a program, it is a decorator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from sursum.compat.pyro import poutine
from sursum.compat.pyro.infer.reparam.loc_scale import LocScaleReparam
from sursum.handlers import Sample
from sursum.infer import reparam as ours


class Strategy(ABC):
    """The base of strategies of one's own, for ``poutine.reparam(model, config=strategy)`` or as a decorator.

    Example:
        >>> import sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> class Centred(Strategy):
        ...     def configure(self, msg):
        ...         return LocScaleReparam(0.5) if msg["name"] == "x" else None
        >>> @Centred()
        ... def model():
        ...     pyro.sample("x", dist.Normal(pyro.sample("mu", dist.Normal(0.0, 1.0)), 1.0))
        >>> list(pyro.poutine.trace(model).get_trace().stochastic_nodes)
        ['mu', 'x_decentered']
    """

    @abstractmethod
    def configure(self, msg: Sample) -> Any:
        """The reparameteriser of a site, or None."""

    def __call__(self, msg_or_fn: Sample | Callable[..., Any]) -> Any:
        """The reparameteriser of a site; or a program with those of this strategy."""
        return self.configure(msg_or_fn) if isinstance(msg_or_fn, Sample) else poutine.reparam(msg_or_fn, config=self)


class MinimalReparam(Strategy):
    """Reparameterise only where a sampler could not go on without: angles and directions."""

    def configure(self, msg: Sample) -> Any:
        return ours.MinimalReparam()(msg)


class AutoReparam(Strategy):
    """Reparameterise every latent site whose distribution offers it; see `sursum.infer.reparam.AutoReparam`.

    Args:
        centered: the centring of location-scale families; None learns it, as in Pyro.
    """

    def __init__(self, *, centered: float | None = None) -> None:
        self.centered = centered

    def configure(self, msg: Sample) -> Any:
        found = ours.AutoReparam(self.centered)(msg)
        return LocScaleReparam(self.centered) if isinstance(found, ours.LocScaleReparam) else found


__all__ = ["AutoReparam", "MinimalReparam", "Strategy"]
