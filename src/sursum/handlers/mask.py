"""`mask`: leave elements out of the log density."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sursum.core.messages import Factor, Sample, Site
from sursum.core.runtime import Messenger, P, R, handler, perform, required
from sursum.errors import OptionError


@handler
class mask(Messenger[P, R]):
    r"""Count only where `mask` is True: :math:`\log p = \sum_i mask_i \log p_i`. Nested masks are combined by "and".

    Args:
        mask: a boolean tensor that broadcasts with the sites' batch shapes, or a bool.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> with su.poutine.trace() as t, su.poutine.mask(mask=torch.tensor([True, False])):
        ...     _ = su.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor([0.0, torch.nan]))
        >>> t.trace["y"].log_prob()
        tensor([-0.9189,  0.0000])
    """

    mask: Tensor | bool = required()

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.mask, Tensor) and self.mask.dtype != torch.bool:
            raise OptionError(f"mask needs a boolean tensor, not {self.mask.dtype}: write mask.bool()")
        if not isinstance(self.mask, (Tensor, bool)):
            raise OptionError(f"mask needs a boolean tensor or a bool, not {self.mask!r}: write torch.as_tensor(mask).bool()")

    def handle(self, site: Site) -> Any:
        if isinstance(site, (Sample, Factor)):
            # As it is now: loops write the next one into the same tensor, `seen |= y[t] > 0`.
            own = self.mask.clone() if isinstance(self.mask, Tensor) else self.mask
            site = site.but(mask=own if site.mask is None else torch.as_tensor(own) & site.mask)
        return perform(site)
