"""`block`: hide sites from the handlers outside."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from typing import Any

from sursum.common.user_frame import warn
from sursum.core.messages import Sample, Site
from sursum.core.runtime import Messenger, P, R, handler, perform
from sursum.errors import OptionError, UnusedSiteWarning
from sursum.handlers.unused import find_unused

_TYPES = frozenset({"sample", "observe", "param", "deterministic", "factor"})
_Choice = tuple[Collection[str] | None, Collection[str] | None, Callable[[Site], bool] | None]


@handler
class block(Messenger[P, R]):
    """Hide sites from the handlers outside: a hidden site runs here and is neither recorded nor scored further out.

    Without arguments everything is hidden. A site is hidden if `hide` names it, `hide_types` contains its type, or
    `hide_fn` is true for it; if any of `expose`, `expose_types` and `expose_fn` is given, everything that they do not
    select is hidden as well. An empty collection names nothing: ``hide=[]`` hides nothing, ``expose=[]`` everything.

    Args:
        hide, expose: names of sites.
        hide_types, expose_types: of "sample" (latent), "observe", "param", "deterministic", "factor".
        hide_fn, expose_fn: functions from a site to bool. A function that hides does not go with what exposes, nor the other
            way round.

    Raises:
        OptionError: `hide_fn` with `expose…`, or `expose_fn` with `hide…`.

    Warns:
        UnusedSiteWarning: a name that matches no site.

    Example:
        >>> import sursum as su, torch
        >>> with su.poutine.trace() as t, su.poutine.block(hide=["s"]):
        ...     a, b = su.param("s", torch.tensor(0.0)), su.param("r", torch.tensor(0.0))
        >>> list(t.trace)
        ['r']
    """

    hide: Collection[str] | None = None
    expose: Collection[str] | None = None
    hide_types: Collection[str] | None = None
    expose_types: Collection[str] | None = None
    hide_fn: Callable[[Site], bool] | None = None
    expose_fn: Callable[[Site], bool] | None = None

    met: dict[str, None] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for argument in ("hide", "expose", "hide_types", "expose_types"):
            names = getattr(self, argument)
            if isinstance(names, str):
                raise OptionError(f"block needs a collection of names, not the string {names!r}: write {argument}=[{names!r}]")
            unknown = set(names or ()) - _TYPES
            if argument.endswith("_types") and unknown:
                raise ValueError(f"block knows the types {sorted(_TYPES)}, not {sorted(unknown)}")

        for function, verb in (("hide_fn", "expose"), ("expose_fn", "hide")):
            others = [name for name in (verb, f"{verb}_types", f"{verb}_fn") if getattr(self, name) is not None]
            if getattr(self, function) is not None and others:
                raise OptionError(
                    f"block got `{function}` and `{others[0]}`: which of them decides about a site is not clear; in Pyro the "
                    f"function does alone. Give one of them, or ask for both in `{function}`."
                )

    def handle(self, site: Site) -> Any:
        self.met[site.name] = None
        return site.run() if self.hides(site) else perform(site)

    def finish(self) -> None:
        for verb in ("hide", "expose"):
            names = getattr(self, verb)
            # A whole trace need not be used completely.
            if names and not isinstance(names, Mapping):
                for key, why in find_unused(self, names, self.met, "no site of that name was reached"):
                    warn(f"block: nothing to {verb} for {key!r}: {why}", UnusedSiteWarning)

    def hides(self, site: Site) -> bool:
        """Whether `site` is hidden."""
        kind = "observe" if isinstance(site, Sample) and site.is_observed else site.type
        if all(choice is None for choice in (*self._hiding(), *self._exposing())):
            return True
        if _names(site, kind, *self._hiding()):
            return True
        exposing = any(choice is not None for choice in self._exposing())
        return exposing and not _names(site, kind, *self._exposing())

    def _hiding(self) -> _Choice:
        return self.hide, self.hide_types, self.hide_fn

    def _exposing(self) -> _Choice:
        return self.expose, self.expose_types, self.expose_fn


def _names(
    site: Site, kind: str, names: Collection[str] | None, types: Collection[str] | None, fn: Callable[[Site], bool] | None
) -> bool:
    return site.name in (names or ()) or kind in (types or ()) or bool(fn and fn(site))
