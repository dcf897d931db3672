"""`block`: hide sites from the handlers outside."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sursum.messages import Sample, Site
from sursum.runtime import Messenger, handler, perform

_TYPES = frozenset({"sample", "observe", "param", "deterministic", "factor"})


@handler
class block(Messenger):
    """Hide sites from the handlers outside: a hidden site runs here and is neither recorded nor scored further out.

    Without arguments everything is hidden. A site is hidden that `hide` names, whose type `hide_types` holds, or for
    which `hide_fn` is true; where only `expose`, `expose_types` or `expose_fn` are given, everything else is hidden.

    Args:
        hide, expose: names of sites.
        hide_types, expose_types: of "sample" (latent), "observe", "param", "deterministic", "factor".
        hide_fn, expose_fn: functions from a site to bool.

    Example:
        >>> import sursum as su, torch
        >>> with su.poutine.trace() as t, su.poutine.block(hide=["s"]):
        ...     a, b = su.param("s", torch.tensor(0.0)), su.param("r", torch.tensor(0.0))
        >>> list(t.trace)
        ['r']
    """

    hide: Collection[str] = ()
    expose: Collection[str] = ()
    hide_types: Collection[str] = ()
    expose_types: Collection[str] = ()
    hide_fn: Callable[[Site], bool] | None = None
    expose_fn: Callable[[Site], bool] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for types in (self.hide_types, self.expose_types):
            unknown = set(types) - _TYPES
            if unknown:
                raise ValueError(f"block knows the types {sorted(_TYPES)}, not {sorted(unknown)}")

    def handle(self, site: Site) -> Any:
        return site.run() if self.hides(site) else perform(site)

    def hides(self, site: Site) -> bool:
        """Whether `site` is hidden."""
        kind = "observe" if isinstance(site, Sample) and site.is_observed else site.type
        hiding = bool(self.hide or self.hide_types or self.hide_fn)
        exposing = bool(self.expose or self.expose_types or self.expose_fn)
        hidden = site.name in self.hide or kind in self.hide_types or bool(self.hide_fn and self.hide_fn(site))
        exposed = site.name in self.expose or kind in self.expose_types or bool(self.expose_fn and self.expose_fn(site))
        return hidden or (exposing and not exposed) or not (hiding or exposing)
