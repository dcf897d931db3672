"""Select the sites that a run keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sursum.common.patterns import matches, suggestion
from sursum.errors import SamplingError


@dataclass(frozen=True)
class Keep:
    """Names of sites, or patterns of names; None keeps all.

    Example:
        >>> Keep(("tau", "net.**")).names(["mu", "tau", "net.0.bias", "net.0.weight"])
        ['tau', 'net.0.bias', 'net.0.weight']
        >>> Keep(("tua",)).names(["mu", "tau"])
        Traceback (most recent call last):
        sursum.errors.SamplingError: `keep` names 'tua', which is not a site of the program. Did you mean 'tau'?
    """

    patterns: tuple[str, ...] | None = None

    def names(self, sites: Iterable[str]) -> list[str]:
        """Those of `sites` that are kept, in their order.

        Raises:
            SamplingError: a name or pattern that matches none of them.
        """
        found = list(sites)
        if self.patterns is None:
            return found
        for pattern in self.patterns:
            if not any(matches(pattern, name) for name in found):
                raise SamplingError(
                    f"`keep` names {pattern!r}, which is not a site of the program.{suggestion(pattern, found)}"
                )
        return [name for name in found if any(matches(pattern, name) for pattern in self.patterns)]
