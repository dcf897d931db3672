"""`Trace_ELBO`: the evidence lower bound from traces of guide and model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sursum.vi.elbo import ELBO, Baselines
from sursum.vi.particle import Pair
from sursum.vi.score_function import score_terms


@dataclass(frozen=True)
class Trace_ELBO(ELBO):
    r"""The evidence lower bound, with every term estimated by draws from the guide.

    .. math:: \mathrm{ELBO} = E_{q(z)}[\log p(x, z) - \log q(z)]

    Draws with `has_rsample` are differentiated; other sites get score-function terms, summed over the plates
    that they are not in, with the mean cost of the other particles as baseline, and baselines requested by a guide's site:
    ``infer={"baseline": {"use_decaying_avg_baseline": True, "baseline_beta": 0.9}}``, or ``{"baseline_value": b}``, a
    tensor computed by the guide (e.g. with a network), which is then fitted to the cost.

    Args:
        num_particles, vectorize_particles, max_plate_nesting: see `ELBO`.

    References:
        Kingma, Welling, "Auto-encoding variational Bayes" (2014), section 2.3; Ranganath, Gerrish, Blei, "Black box
        variational inference" (2014), sections 2 to 4.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("z", dist.Normal(0.0, 1.0))
        >>> guide = lambda: su.sample("z", dist.Normal(su.param("loc", torch.tensor(0.0)), 1.0))
        >>> Trace_ELBO().loss(model, guide)
        -0.0
    """

    def score_terms(self, pairs: Sequence[Pair], keep: int | None, baselines: Baselines) -> Tensor:
        return score_terms(pairs, keep, baselines)
