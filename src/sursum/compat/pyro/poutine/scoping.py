"""`scope`: a prefix for the names of sites; `name_count`: numbers for repeated ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from sursum.compat.pyro.poutine.messenger import Handler
from sursum.errors import OptionError
from sursum.handlers import Param, Sample, Site, perform


class scope(Handler):
    """Put ``prefix/`` before the name of every site inside, also in a function: ``@scope(prefix="encoder")``.

    Args:
        fn: the program; its name is the prefix where none is given.
        prefix: the prefix.
        inner: whether the prefix stands next to the name, inside those of scopes further out. It always does.

    Example:
        >>> import sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> @scope(prefix="a")
        ... def model():
        ...     with scope(prefix="b"):
        ...         return pyro.sample("x", dist.Normal(0.0, 1.0))
        >>> pyro.poutine.trace(model).get_trace().stochastic_nodes
        ['a/b/x']
    """

    def __init__(self, fn: Callable[..., Any] | None = None, prefix: str | None = None, inner: bool | None = None) -> None:
        super().__init__(fn)
        if fn is not None and prefix is None:
            prefix = getattr(fn, "__name__", type(fn).__name__)
        self.prefix = prefix

    def around(self, fn: Callable[..., Any]) -> Self:
        made = super().around(fn)
        if made.prefix is None:
            made.prefix = getattr(fn, "__name__", type(fn).__name__)
        return made

    def handle(self, site: Site) -> Any:
        if self.prefix is None:
            raise OptionError("scope needs a prefix here: with scope(prefix='encoder'): …")
        return perform(site if isinstance(site, Param) else site.but(name=f"{self.prefix}/{site.name}"))


class name_count(Handler):
    """Number the sites of one name: the second ``x`` is ``x__1``."""

    def __init__(self, fn: Callable[..., Any] | None = None) -> None:
        super().__init__(fn)
        self.counts: dict[str, int] = {}

    def fresh(self) -> Self:
        made = super().fresh()
        made.counts = {}
        return made

    def handle(self, site: Site) -> Any:
        if not isinstance(site, Sample):
            return perform(site)
        count = self.counts.get(site.name, 0)
        self.counts[site.name] = count + 1
        return perform(site.but(name=f"{site.name}__{count}") if count else site)
