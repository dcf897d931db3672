"""Where a program is: what captures put down beside an operator."""

from __future__ import annotations

from sursum.compiler.graph.graph import Where
from sursum.core.scope import current_site


def site_at_work() -> Where:
    """The site that is being scored, and the line that made it."""
    site = current_site()
    return Where(None, None) if site is None else Where(site.name, site.where)
