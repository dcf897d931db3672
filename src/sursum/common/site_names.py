"""Look up sites of draws by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sursum.common.patterns import suggestion

MOST = 40


def no_site(name: Any, sites: Mapping[str, Any], where: str) -> KeyError:
    """The error for a site that does not exist `where`: what may have been meant, and which sites exist.

    Example:
        >>> no_site("slop", {"slope": 0, "sigma": 0}, "these draws")
        KeyError("no site 'slop' in these draws. Did you mean 'slope'? It has 'slope', 'sigma'.")
    """
    if not isinstance(name, str):
        return KeyError(f"{name!r:.60} is not the name of a site: one at a time, as in `draws[{next(iter(sites), 'name')!r}]`.")
    near = suggestion(name, sites)
    near = near if near.startswith(" Did you mean") else ""
    every = ", ".join(map(repr, list(sites)[:MOST])) + (", …" if len(sites) > MOST else "")
    return KeyError(f"no site {name!r} in {where}.{near} It has {every or 'none'}.")


def chosen_sites(wanted: Iterable[str] | str | None, sites: Mapping[str, Any], where: str) -> list[str]:
    """The names that are wanted, or all of them if None; a single string is one name.

    Raises:
        KeyError: a name that does not exist.
    """
    names = list(sites) if wanted is None else [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if name not in sites:
            raise no_site(name, sites, where)
    return names
