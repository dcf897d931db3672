"""`Parents`: which sites each site of a program is computed from."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from torch import Tensor
from torch.distributions import Distribution

from sursum.common.taint import Provenance
from sursum.core.messages import Factor, Param, Sample, Site
from sursum.core.runtime import Messenger, handler, perform, required
from sursum.core.scope import at_site


@handler
class Parents(Messenger):
    """Records which sites each site is computed from, and marks its value for later ones.

    Only direct ones: what comes from a deterministic site comes from that site.

    Args:
        seen: the mode in which the program runs.
    """

    seen: Provenance = required()

    parents: dict[str, frozenset[str]] = field(init=False, repr=False, default_factory=dict)
    first: dict[str, Site] = field(init=False, repr=False, default_factory=dict)
    _known: dict[tuple[str, int], tuple[Tensor, Tensor]] = field(init=False, repr=False, default_factory=dict)

    def handle(self, site: Site) -> Any:
        out = perform(site)
        with at_site(out):
            scored = isinstance(out, Factor) or (isinstance(out, Sample) and isinstance(out.fn, Distribution))
            names = self.seen.of(out.log_prob() if scored else out.value)
        self.parents[out.name] = self.parents.get(out.name, frozenset()) | names
        self.first.setdefault(out.name, out)
        return out.but(value=self._mark(out)) if isinstance(out.value, Tensor) else out

    def _mark(self, site: Site) -> Tensor:
        """The site's value in separate memory, so that its mark is on nothing else."""
        if isinstance(site, Param):
            # Read again, a parameter is the same tensor.
            key = (site.name, id(site.owner))
            if key not in self._known or self._known[key][0] is not site.value:
                self._known[key] = (site.value, self._copy(site))
            return self._known[key][1]
        return self._copy(site)

    def _copy(self, site: Site) -> Tensor:
        copy: Tensor = site.value.clone()
        self.seen.mark(copy, site.name)
        return copy
