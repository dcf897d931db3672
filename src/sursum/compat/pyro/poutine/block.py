"""`block`, with Pyro's rules of what is hidden."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import sursum as su
from sursum.compat.pyro.poutine.messenger import Fn, Handler
from sursum.compat.pyro.poutine.nodes import node_of
from sursum.errors import OptionError
from sursum.handlers import Param, Sample, Site


class block(Handler, su.block):
    """Hide sites from the handlers outside.

    As in Pyro: `hide_fn` or `expose_fn` decides alone where it is given. Otherwise a site is hidden if `hide` or `hide_types`
    names it; and, unless only these two are given, if neither `expose` nor `expose_types` does.
    """

    def __init__(
        self,
        fn: Fn = None,
        hide_fn: Callable[[Any], bool | None] | None = None,
        expose_fn: Callable[[Any], bool | None] | None = None,
        hide_all: bool = True,
        expose_all: bool = False,
        hide: Collection[str] | None = None,
        expose: Collection[str] | None = None,
        hide_types: Collection[str] | None = None,
        expose_types: Collection[str] | None = None,
    ) -> None:
        if hide_fn is not None and expose_fn is not None:
            raise OptionError("block takes hide_fn or expose_fn, not both: the one is the negation of the other.")
        if hide_fn is None and expose_fn is None:
            # Both given, the one that hides everything wins, as in Pyro.
            whole = not expose_all if hide is None and hide_types is None else False
            whole = whole or expose is not None or expose_types is not None
            decide = _by_names(whole and hide_all, hide or (), expose or (), hide_types or (), expose_types or ())
        elif hide_fn is not None:
            decide = _asking(hide_fn)
        else:
            assert expose_fn is not None
            shown = _asking(expose_fn)
            decide = lambda site: not shown(site)
        super().__init__(fn, hide_fn=decide)


def _asking(fn: Callable[[Any], bool | None]) -> Callable[[Site], bool]:
    return lambda site: bool(fn(node_of(site)))


def _by_names(
    everything: bool,
    hide: Collection[str],
    expose: Collection[str],
    hide_types: Collection[str],
    expose_types: Collection[str],
) -> Callable[[Site], bool]:
    def hidden(site: Site) -> bool:
        latent = isinstance(site, (Sample, Param)) and not site["is_observed"]
        kind = site.type if latent else "observe"
        shown = site.name in expose or kind in expose_types
        return site.name in hide or kind in hide_types or (everything and not shown)

    return hidden
