"""`SplitReparam`: a vector as several sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from sursum.core.messages import Sample
from sursum.core.runtime import perform
from sursum.core.scope import at_site
from sursum.distributions.select import select
from sursum.errors import OptionError, SiteError
from sursum.handlers.reparam import base_of


@dataclass(frozen=True)
class SplitReparam:
    r"""A site with independent elements, drawn as several sites, which then may have different guides or reparameterisers.

    .. math:: x = (x_0, x_1, \dots), \qquad p(x) = \prod_k p(x_k)

    The sites are named ``<name>_split_0``, ``<name>_split_1`` and so on.

    Args:
        sections: the sizes of the parts, or one size of all of them.
        dim: the event dimension to split, counted from the right.

    Raises:
        OptionError: sizes that are not positive integers, or a `dim` that is not negative.
        SiteError: a site whose elements along `dim` are not independent, or whose size is not the sum of the sections.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("x", dist.Normal(torch.zeros(5), 1.0).to_event(1))
        >>> list(su.trace(su.reparam(model, {"x": SplitReparam([2, 3], -1)})).get_trace())
        ['x_split_0', 'x_split_1', 'x']
    """

    sections: Sequence[int] | int
    dim: int = -1

    def __post_init__(self) -> None:
        sizes = [self.sections] if isinstance(self.sections, int) else list(self.sections)
        if not sizes or any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
            raise OptionError(f"SplitReparam: `sections` is {self.sections!r}, but must be sizes of at least 1: [2, 3].")
        if not isinstance(self.dim, int) or self.dim >= 0:
            raise OptionError(f"SplitReparam: `dim` is {self.dim!r}, but must be negative: -1 is the last dimension.")

    def __call__(self, site: Sample) -> Tensor:
        fn, events = base_of(site.fn)
        if -self.dim > events:
            raise SiteError(
                f"site {site} cannot be split along {self.dim}: SplitReparam needs elements that are independent along that "
                f"event dimension, as of dist.Normal(…).to_event(1); this is {type(fn).__name__} with {events} of them."
            )
        whole = site.fn.event_shape[self.dim]
        sizes = self._sizes(site, whole)
        parts, at = [], 0
        for k, size in enumerate(sizes):
            index = torch.arange(at, at + size)
            part: Distribution | None = select(fn, self.dim, index)
            if part is None:
                raise SiteError(f"site {site} cannot be split: the arguments of {type(fn).__name__} cannot be indexed.")
            start = None if site.init is None else site.init.index_select(self.dim, index)
            drawn = site.but(name=f"{site.name}_split_{k}", fn=Independent(part, events), init=start)
            with at_site(drawn):
                parts.append(perform(drawn).value)
            at += size
        return torch.cat(parts, self.dim)

    def _sizes(self, site: Sample, whole: int) -> list[int]:
        if isinstance(self.sections, int):
            full, rest = divmod(whole, self.sections)
            return [self.sections] * full + [rest] * bool(rest)
        if sum(self.sections) != whole:
            raise SiteError(
                f"site {site} has size {whole} along {self.dim}, and the sections {list(self.sections)} have "
                f"{sum(self.sections)} together. Make them agree."
            )
        return list(self.sections)
