"""`TransformReparam`: a transformed distribution, drawn before its transforms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Independent, TransformedDistribution

from sursum.core.messages import Sample
from sursum.core.runtime import perform
from sursum.core.scope import at_site
from sursum.errors import SiteError
from sursum.handlers.reparam import base_of


@dataclass(frozen=True)
class TransformReparam:
    r"""A site with a `TransformedDistribution`, :math:`x = T(x')` with :math:`x' \sim F`, drawn from F.

    The auxiliary site is named ``<name>_base``. This helps where T depends on other latent sites, or where F does and is
    itself written in other coordinates: ``TransformReparam(LocScaleReparam(0.0))`` non-centres a `LogNormal`.

    Args:
        base: the reparameteriser of the auxiliary site; None draws that as it is.

    Raises:
        SiteError: a site whose distribution is not a transformed one, or whose transform is not one-to-one.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("x", dist.LogNormal(0.0, 1.0))
        >>> list(su.poutine.trace(su.reparam(model, {"x": TransformReparam()})).get_trace())
        ['x_base', 'x']
    """

    base: Callable[[Sample], Tensor | Sample] | None = None

    def __call__(self, site: Sample) -> Tensor:
        fn, events = base_of(site.fn)
        if not isinstance(fn, TransformedDistribution) or not all(transform.bijective for transform in fn.transforms):
            raise SiteError(
                f"site {site} has no base to draw from: TransformReparam needs a TransformedDistribution whose "
                f"transforms are one-to-one, such as LogNormal, but this is {type(fn).__name__}."
            )
        base = fn.base_dist
        start = site.init
        for transform in reversed(fn.transforms):
            start = None if start is None else transform.inv(start)
        auxiliary = site.but(
            name=f"{site.name}_base",
            fn=Independent(base, events) if events else base,
            init=None if start is None else start.detach(),
        )
        with at_site(auxiliary):
            made = auxiliary if self.base is None else self.base(auxiliary)
            value: Tensor = perform(made).value if isinstance(made, Sample) else made
        for transform in fn.transforms:
            value = transform(value)
        return torch.as_tensor(value)
