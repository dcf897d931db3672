"""Sites of a guide whose distribution the user writes, given the prior and what the sites before it are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum import distributions as dist
from sursum.core.messages import Frame, Sample, Step
from sursum.core.plates import place as fit_to_plates
from sursum.core.plates import plate_scale
from sursum.core.runtime import Messenger, handler, required
from sursum.core.scope import own_steps
from sursum.core.trace import Trace
from sursum.errors import GuideError
from sursum.vi.autoguide.guide import join_plates

#: A function of a latent site's prior, and of the values before it by name, to its distribution in the guide, or to a value.
Conditional = Callable[[Any, dict[str, Any]], "Distribution | Tensor"]


@handler
class Opened(Messenger):
    """A plate of the model, open again."""

    plate: Frame = required()

    @property
    def frame(self) -> Frame:
        return self.plate


def asked(conditional: Conditional, site: Sample, before: Trace, outer: tuple[Frame, ...]) -> Sample:
    """The guide's site for a latent site, by a function of the user's that is called inside the plates of the site.

    Raises:
        GuideError: the site is in a scan; the function returns neither a distribution nor a tensor, or one of another shape.
    """
    if own_steps(site):
        raise GuideError(
            f"latent site {site} is in a scan, whose steps a guide draws at once, before the prior of a step is known: it "
            "cannot have a conditional. Write the guide by hand."
        )
    plates = join_plates(outer, site.plates)
    with ExitStack() as open_here:
        for frame in site.plates:
            if frame not in outer and not isinstance(frame, Step):
                open_here.enter_context(Opened(plate=frame))
        given = conditional(site.fn, {name: one.value for name, one in before.items() if one.value is not None})
    events = site.fn.event_shape
    if isinstance(given, Tensor):
        given = dist.Delta(given, event_dim=len(events))
    if not isinstance(given, Distribution):
        raise GuideError(
            f"the conditional of latent site {site} returned {given!r}, but must return a distribution, or a tensor for a "
            "point."
        )
    if given.event_shape != events:
        raise GuideError(
            f"the conditional of latent site {site} has values of shape {tuple(given.event_shape)}, but those of the site have "
            f"{tuple(events)}: make them one value with .to_event({len(events)}), or as many as the site's."
        )
    batch = site.fn.batch_shape
    extra = len(given.batch_shape) - len(batch)
    if _broadcast(given.batch_shape[max(extra, 0) :], batch) != batch or (extra > 0 and not outer):
        raise GuideError(
            f"the conditional of latent site {site} has the batch shape {tuple(given.batch_shape)}, but the site has "
            f"{tuple(batch)}. Make the extra dimensions part of one value with .to_event(…), or sum over them."
        )
    return fit_to_plates(
        Sample(
            name=site.name,
            fn=given,
            plates=plates,
            scale=plate_scale(plates),
            mask=site.mask,
            generator=site.generator,
            where=site.where,
        )
    )


def _broadcast(shape: torch.Size, batch: torch.Size) -> torch.Size | None:
    try:
        return torch.Size(torch.broadcast_shapes(shape, batch))
    except RuntimeError:
        return None
