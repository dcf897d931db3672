"""Where a program is: what captures put down beside an operator."""

from __future__ import annotations

from functools import lru_cache

from sursum.compiler.graph.graph import Where
from sursum.core.scope import current_site


def site_at_work() -> Where:
    """The site that is being scored, and the line that made it."""
    site = current_site()
    return where_of(None, None) if site is None else where_of(site.name, site.where)


@lru_cache(maxsize=256)
def where_of(site: str | None, line: str | None) -> Where:
    """One object for the many operators of a site.

    Example:
        >>> where_of("z", "model.py:3") is where_of("z", "model.py:3")
        True
    """
    return Where(site, line)
