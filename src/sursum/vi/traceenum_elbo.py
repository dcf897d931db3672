"""`TraceEnum_ELBO`: the evidence lower bound, with exact sums over the discrete sites of guide and model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sursum.vi.trace_elbo import Trace_ELBO


@dataclass(frozen=True)
class TraceEnum_ELBO(Trace_ELBO):
    r"""The evidence lower bound, averaged exactly over discrete sites of the guide, and summed over those of the model alone.

    .. math:: \mathrm{ELBO} = E_{q(x)} \sum_z q(z \mid x) \left[ \log \sum_k p(y, x, z, k) - \log q(x, z) \right]

    A guide's site is averaged over if it says ``infer={"enumerate": "parallel"}``, or `config_enumerate` says so for all;
    "sequential" gives the same sum. The gradient has no noise from these sites. Sites of the model that the guide does not
    draw are summed out under every bound.

    Args:
        num_particles, vectorize_particles, max_plate_nesting: see `ELBO`.

    References:
        Obermeyer, Bingham, Jankowiak, Phan, Chiu, Pradhan, Rush, Goodman, "Tensor variable elimination for plated factor
        graphs" (2019).

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("z", dist.Bernoulli(0.5))
        >>> @su.infer.config_enumerate
        ... def guide():
        ...     su.sample("z", dist.Bernoulli(su.param("p", torch.tensor(0.25))))
        >>> round(TraceEnum_ELBO().loss(model, guide), 4)
        0.1308
    """

    averages: ClassVar[bool] = True
