"""`StudentTReparam`: a Student t as a normal distribution whose precision is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch.distributions import Independent, StudentT

from sursum.core.messages import Sample
from sursum.core.runtime import perform
from sursum.core.scope import at_site
from sursum.distributions.standard import Gamma, Normal
from sursum.errors import SiteError
from sursum.handlers.reparam import base_of


@dataclass(frozen=True)
class StudentTReparam:
    r"""A site with Student's t distribution, drawn as a scale mixture of normal distributions.

    .. math:: \gamma \sim \mathrm{Gamma}(\nu / 2, \nu / 2), \qquad x \sim N(\mu, \sigma / \sqrt\gamma)

    The auxiliary site is named ``<name>_gamma``; the site itself is normal, and may be observed. Its tails are then those of
    γ, which a sampler and a guide find easier.

    Raises:
        SiteError: a site of another distribution.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("x", dist.StudentT(3.0, 0.0, 1.0))
        >>> trace = su.trace(su.reparam(model, {"x": StudentTReparam()})).get_trace()
        >>> list(trace), type(trace["x"].fn).__name__
        (['x_gamma', 'x'], 'Normal')
    """

    takes_observed: ClassVar[bool] = True

    def __call__(self, site: Sample) -> Sample:
        fn, events = base_of(site.fn)
        if not isinstance(fn, StudentT):
            raise SiteError(f"site {site} is not a Student t: StudentTReparam needs one, and this is {type(fn).__name__}.")
        half = fn.df / 2
        precision = Gamma(half, half, validate_args=False)
        drawn = site.but(
            name=f"{site.name}_gamma",
            fn=Independent(precision, events) if events else precision,
            value=None,
            is_observed=False,
            init=None,
        )
        with at_site(drawn):
            gamma = perform(drawn).value
        normal = Normal(fn.loc, fn.scale * gamma.rsqrt(), validate_args=False)
        return site.but(fn=Independent(normal, events) if events else normal)
