"""`TraceMeanField_ELBO`: the evidence lower bound with Kullback-Leibler divergences in closed form where available."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from sursum.core.messages import Sample
from sursum.core.trace import Trace
from sursum.distributions.missing import mask_term
from sursum.errors import VariationalError
from sursum.vi.elbo import ELBO, sum_terms
from sursum.vi.particle import Pair, needs_score


@dataclass(frozen=True)
class TraceMeanField_ELBO(ELBO):
    r"""The evidence lower bound, with :math:`KL(q(z_i) \| p(z_i))` in closed form for every site where torch has it.

    .. math:: \mathrm{ELBO} = E_q[\log p(x \mid z)] - \sum_i E_q\left[ KL(q(z_i) \| p(z_i \mid \ldots)) \right]

    Otherwise the site's term is estimated from the draw. The same holds if the model draws a site before :math:`z_i`
    that the guide draws after it: that one may depend on :math:`z_i` in the guide, and the divergence would belong to a
    different bound.

    Args:
        num_particles, vectorize_particles, max_plate_nesting: see `ELBO`.

    Raises:
        VariationalError: a site whose draws cannot be differentiated.

    References:
        Kingma, Welling, "Auto-encoding variational Bayes" (2014), section 2.3, estimator B.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("z", dist.Normal(0.0, 1.0))
        >>> guide = lambda: su.sample("z", dist.Normal(su.param("loc", torch.tensor(2.0)), 1.0))
        >>> TraceMeanField_ELBO().loss(model, guide)
        2.0
    """

    def log_weight(self, pair: Pair, keep: int | None) -> Tensor:
        terms = {f"p {name}": term for name, term in pair.log_p.items()}
        terms |= {f"q {name}": -term for name, term in pair.log_q.items()}
        for name, site in pair.guide.stochastic.items():
            ours = pair.model.get(name)
            known = isinstance(ours, Sample) and not ours.is_observed and _is_drawn_before(pair, name)
            divergence = _divergence(site, ours) if known and isinstance(ours, Sample) else None
            if divergence is not None:
                terms[f"p {name}"] = -divergence
                del terms[f"q {name}"]
        return sum_terms(terms.values(), keep)

    def check(self, guide: Trace) -> None:
        for site in guide.stochastic.values():
            if needs_score(site):
                raise VariationalError(
                    f"TraceMeanField_ELBO needs draws that can be differentiated, but those of site {site} "
                    f"({type(site.fn).__name__}) cannot. Use Trace_ELBO, which has score-function terms for them, or sum the "
                    "site out."
                )


def _is_drawn_before(pair: Pair, name: str) -> bool:
    """Whether the guide draws before `name` all sites that the model draws before it."""
    model, guide = pair.model.stochastic_nodes, pair.guide.stochastic_nodes
    later = guide[guide.index(name) :]
    return not any(other in later for other in model[: model.index(name)])


def _divergence(theirs: Sample, ours: Sample) -> Tensor | None:
    """KL(guide's ‖ model's), one element per batch element, scaled and masked as the model's site is; None if unknown."""
    if not isinstance(theirs.fn, Distribution) or not isinstance(ours.fn, Distribution):
        return None
    try:
        found = kl_divergence(theirs.fn, ours.fn)
    except NotImplementedError:
        return None
    if ours.mask is not None:
        found = mask_term(found, torch.as_tensor(ours.mask))
    return found * ours.scale
