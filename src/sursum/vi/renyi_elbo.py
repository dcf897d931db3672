"""`RenyiELBO`: bounds of order α, including the importance-weighted one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sursum.errors import VariationalError
from sursum.vi.elbo import ELBO, Baselines, join, sum_terms
from sursum.vi.particle import Pair, needs_score


@dataclass(frozen=True)
class RenyiELBO(ELBO):
    r"""The bound of order α from K particles; α = 0 is the importance-weighted bound (IWAE).

    .. math:: \frac{1}{1-\alpha} \log \frac1K \sum_{k=1}^K \left( \frac{p(x, z_k)}{q(z_k)} \right)^{1-\alpha}

    Args:
        alpha: the order, not 1 (that is `Trace_ELBO`).
        num_particles: K.
        vectorize_particles, max_plate_nesting: see `ELBO`.

    References:
        Li, Turner, "Rényi divergence variational inference" (2016); Burda, Grosse, Salakhutdinov, "Importance
        weighted autoencoders" (2016); for draws that cannot be differentiated Mnih, Rezende, "Variational inference for
        Monte Carlo objectives" (2016).

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("z", dist.Normal(0.0, 1.0))
        >>> guide = lambda: su.sample("z", dist.Normal(su.param("loc", torch.tensor(0.0)), 1.0))
        >>> RenyiELBO(num_particles=3).loss(model, guide)
        -0.0
    """

    alpha: float = 0.0
    num_particles: int = field(default=2, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.alpha, (int, float)) or not math.isfinite(self.alpha) or self.alpha == 1:
            raise VariationalError(
                f"`alpha` is {self.alpha!r}, but must be a finite number other than 1: for that order use Trace_ELBO."
            )

    @property
    def order(self) -> float:
        return float(self.alpha)

    def score_terms(self, pairs: Sequence[Pair], keep: int | None, baselines: Baselines) -> Tensor:
        """For particle k the baseline is the bound with the mean of the other particles' log weights in its place."""
        log_weights = torch.stack([self.log_weight(one, keep) for one in pairs]).reshape(-1).detach()
        scores = torch.stack([_score(one, keep) for one in pairs]).reshape(-1)
        bound, count = join(log_weights, self.order), len(log_weights)
        total = torch.zeros((), dtype=log_weights.dtype)
        for k in range(count):
            without = torch.zeros_like(bound)
            if count > 1:
                others = torch.cat([log_weights[:k], log_weights[k + 1 :]])
                without = join(torch.cat([others, others.mean().reshape(1)]), self.order)
            total = total + (scores[k] - scores[k].detach()) * (bound - without)
        return total


def _score(pair: Pair, keep: int | None) -> Tensor:
    sites = [site for site in pair.guide.stochastic.values() if needs_score(site)]
    return sum_terms([site.but(scale=1.0).log_prob() for site in sites], keep)
