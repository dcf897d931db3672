"""`hold_out`: a program as if some elements of a plate had not been observed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sursum.core.messages import Factor, Frame, Sample, Site
from sursum.core.runtime import Messenger, P, R, handler, perform, required
from sursum.errors import SamplingError


@handler
class hold_out(Messenger[P, R]):
    """Only the elements of a plate that are `kept` are observed; what is not observed in it keeps its prior.

    Args:
        plate: its name.
        kept: bool, of the size of the plate.
    """

    plate: str = required()
    kept: Tensor = required()

    def handle(self, site: Site) -> Any:
        if isinstance(site, Factor) or (isinstance(site, Sample) and site.is_observed):
            frame = frame_of(site, self.plate)
            if frame is not None:
                rows = self.kept.reshape(-1, *[1] * (-1 - frame.dim if frame.dim else 0))
                site = site.but(mask=rows if site.mask is None else rows & torch.as_tensor(site.mask))
        return perform(site)


def frame_of(site: Site, plate: str) -> Frame | None:
    """The open plate of that name.

    Raises:
        SamplingError: the site is in it in a way that leaves no elements to be told apart.
    """
    for frame in site.plates:
        if frame.name == plate:
            if frame.dim is None or frame.indices is not None:
                how = "a loop" if frame.dim is None else "subsampled"
                raise SamplingError(
                    f"the plate {plate!r} of site {site} is {how}, so that its elements cannot be left out one by one. "
                    "Write it with all of its elements, `with plate(name, size):`."
                )
            return frame
    return None


def held(model: Callable[..., Any], plate: str) -> Callable[..., Any]:
    """The program with `kept` as its first argument."""

    def program(kept: Tensor, *args: Any, **kwargs: Any) -> Any:
        return hold_out(model, plate=plate, kept=kept)(*args, **kwargs)

    return program
