"""Initial values of a site, its own or given ones, in unconstrained coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.core.messages import Sample
from sursum.core.scope import own_batch
from sursum.distributions.supports import may_start, support_of
from sursum.errors import DensityError

JITTER = 0.1
"""How far from its initial value an unknown may start, in unconstrained coordinates."""

SPREAD = 2.0
"""How far from zero an unknown without one may start."""


def carry_over(site: Sample, onto: Any) -> Tensor | None:
    """The site's initial value in unconstrained coordinates; None if it has none inside its support."""
    if site.init is None:
        return None
    with torch.no_grad():
        init = site.init.detach()
        if not bool(torch.isfinite(init).all()):
            raise DensityError(
                f"the value that latent site {site} starts from is not finite: {brief(init)}. "
                "Give its parameter a finite initial value, or fit it again."
            )
        own = own_batch(site.fn.batch_shape) + site.fn.event_shape
        if init.shape != own or not bool(may_start(support_of(site.fn), init).all()):
            return None
        free: Tensor = onto.inv(init)
        return free.clone() if bool(torch.isfinite(free).all()) else None


def place_given(site: Sample, value: Any, onto: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A given value of this shape for a site (in a scan for all steps), in unconstrained coordinates."""
    value = torch.as_tensor(value).detach().to(torch.float64)
    start = f"the value to start from that was given for site {site}"
    if value.shape != shape:
        raise DensityError(f"{start} has shape {tuple(value.shape)}, and the site has {tuple(shape)}. Give one of that shape.")
    support = support_of(site.fn)
    if not bool(torch.isfinite(value).all()) or not bool(may_start(support, value).all()):
        raise DensityError(f"{start} is {brief(value)}, outside its support {support!r}. Give one inside.")
    free: Tensor = onto.inv(value)
    if not bool(torch.isfinite(free).all()):
        raise DensityError(f"{start} is {brief(value)}, on the boundary of its support {support!r}. Move it inside.")
    return free.double().reshape(-1).numpy()


def brief(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    flat = value.detach().flatten()
    shown = ", ".join(f"{float(x):.4g}" for x in flat[:4])
    return shown if value.dim() == 0 else f"[{shown}{', …' if len(flat) > 4 else ''}]"
