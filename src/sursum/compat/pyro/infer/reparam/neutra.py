"""`NeuTraReparam` of a guide whose parameters are in the global store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import sursum as su
from sursum.compat.pyro import poutine
from sursum.compat.pyro.infer.autoguide.guides import AutoContinuous
from sursum.errors import GuideError
from sursum.infer import reparam as ours


class NeuTraReparam(ours.NeuTraReparam):
    """All latent sites at once, in the coordinates in which a fitted guide is a standard normal.

    The auxiliary site is named ``neutra_base``.

    Args:
        guide: a fitted `AutoMultivariateNormal`, `AutoDiagonalNormal` or `AutoNormalizingFlow` of the model. Its parameters are
            held.

    Raises:
        GuideError: a guide of another kind, or one that has not been fitted.

    Example:
        >>> import sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist, torch
        >>> pyro.clear_param_store()
        >>> def model():
        ...     pyro.sample("b", dist.Normal(pyro.sample("a", dist.Normal(0.0, 1.0)), 1.0))
        >>> guide = pyro.infer.autoguide.AutoMultivariateNormal(model)
        >>> loss = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), pyro.infer.Trace_ELBO()).step()
        >>> neutra = NeuTraReparam(guide.requires_grad_(False))
        >>> trace = pyro.poutine.trace(neutra.reparam(model)).get_trace()
        >>> {name: value.shape for name, value in neutra.transform_sample(torch.zeros(5, 2)).items()}
        {'a': torch.Size([5]), 'b': torch.Size([5])}
    """

    def __init__(self, guide: AutoContinuous) -> None:
        if not isinstance(guide, AutoContinuous):
            raise GuideError(
                f"NeuTraReparam got a {type(guide).__name__}, but needs a guide of all coordinates at once, such as "
                "AutoMultivariateNormal."
            )
        held = su.ParamStore()
        if guide.sursum.places:
            with torch.no_grad(), held:
                guide.sursum.posterior()
        super().__init__(guide.sursum, held)
        self._places = dict(guide.sursum.places)

    def reparam(self, fn: Callable[..., Any]) -> Any:
        """The program with all sites of the guide replaced."""
        return poutine.reparam(fn, config=lambda site: self if site.name in self._places else None)

    def transform_sample(self, latent: Tensor) -> dict[str, Tensor]:
        """The values of all sites, by name, at draws of ``neutra_base``, (…, coordinates)."""
        with torch.no_grad():
            free = self.transport.onto(latent.to(self.transport.dtype)).to(latent.dtype)
            values = {}
            for name, part in self.transport.slices.items():
                place = self._places[name]
                if place.onto is None:
                    raise GuideError(f"the support of site {name!r} depends on other sites: read it from the posterior itself.")
                values[name] = place.onto(free[..., part].reshape(latent.shape[:-1] + torch.Size(place.free_shape)))
        return values


__all__ = ["NeuTraReparam"]
