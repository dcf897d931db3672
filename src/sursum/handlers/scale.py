"""`scale`: multiply log densities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sursum.common.torch_private import is_all_true
from sursum.core.messages import Factor, Sample, Site
from sursum.core.runtime import Messenger, P, R, handler, perform, required


@handler
class scale(Messenger[P, R]):
    r"""Multiply the log density of every site inside: :math:`\log p` becomes :math:`scale \cdot \log p`.

    Args:
        scale: a positive number, or a tensor that broadcasts with the sites' batch shapes.

    Example:
        >>> import sursum as su, torch
        >>> with su.poutine.trace() as t, su.poutine.scale(scale=3.0):
        ...     su.factor("f", torch.tensor(2.0))
        >>> t.trace.log_prob_sum()
        tensor(6.)
    """

    scale: Tensor | float = required()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_all_true(torch.as_tensor(self.scale) >= 0):
            raise ValueError(f"scale must not be negative, but is {self.scale}")

    def handle(self, site: Site) -> Any:
        if isinstance(site, (Sample, Factor)):
            site = site.but(scale=self.scale * site.scale)
        return perform(site)
