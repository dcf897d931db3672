"""`LocScaleReparam`, whose centring is learnt unless it is given."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sursum.errors import ArgumentError
from sursum.handlers import Sample
from sursum.infer import reparam


class LocScaleReparam:
    """Draw a site of a location-scale family with a centring in [0, 1]; None learns it, as in Pyro.

    Args:
        centered: the centring; None makes it a parameter of the store, ``<name>_centered``.
        shape_params: has no use: further arguments of a family are kept by themselves.
    """

    def __init__(self, centered: float | Tensor | None = None, shape_params: Sequence[str] | None = None) -> None:
        if isinstance(centered, Tensor):
            if centered.dim():
                raise ArgumentError("LocScaleReparam takes one number as `centered`; None learns one for every element.")
            centered = float(centered)
        self.centered = centered
        self._made = reparam.LocScaleReparam(centered)

    def __call__(self, site: Sample) -> Tensor:
        return self._made(site)
