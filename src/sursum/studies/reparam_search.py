"""`ReparamSearch`: which coordinates serve a sampler best, site by site, measured by short runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sursum.common.other_libraries import answers
from sursum.common.reprs import call_text
from sursum.core.calling import check_program
from sursum.errors import SamplingError
from sursum.mcmc import MCMC, NUTS
from sursum.mcmc.coordinates import ReparamChoice


@answers(chains="num_chains", draws="num_samples", random_seed="seed", rng_seed="seed", warmup_steps="num_warmup")
@dataclass(frozen=True, repr=False)
class ReparamSearch:
    r"""Measure in which coordinates each site of a hierarchy is sampled best.

    A site that is :math:`x \sim F(\mu, \sigma)` with μ or σ unknown can be drawn as it is (centred), as
    :math:`x = \mu + \sigma z` (non-centred), in between, or shifted and scaled by fixed numbers. Where the data say much about
    x the first is best, where they say little the second, and elements of one site may differ. Short runs of NUTS measure each,

    .. math:: \frac{\text{gradients}}{\min_j \mathrm{ESS}_j}

    over all latent quantities, first for all sites together, then site by site, then in longer runs for those that come close.
    The centring in between is learnt for each element from the draws of the first runs. A run whose chains disagree or in which
    more than one draw in 200 diverges counts only if all do.

    The posterior is the same in all coordinates. ``MCMC(NUTS(su.reparam(model, "auto")))`` searches by itself.

    Args:
        model: the program, with or without handlers around it.
        num_warmup, num_samples, num_chains: of the short runs.
        seed: of the short runs.
        engine: as in `MCMC`.
        progress: as in `MCMC`.

    Raises:
        SamplingError: an invalid setting.

    References:
        Papaspiliopoulos, Roberts, Sköld (2007), A general framework for the parametrization of hierarchical models, Statistical
        Science 22. Gorinova, Moore, Hoffman (2020), Automatic reparameterisation of probabilistic programs, ICML.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> def funnel():
        ...     v = su.sample("v", dist.Normal(0.0, 3.0))
        ...     with su.plate("elements", 4):
        ...         su.sample("x", dist.Normal(0.0, (v / 2).exp()))
        >>> found = su.infer.ReparamSearch(funnel, num_warmup=200, num_samples=200).run()
        >>> found["x"].way
        'non-centred'
    """

    model: Callable[..., Any]
    num_warmup: int = field(default=500, kw_only=True)
    num_samples: int = field(default=500, kw_only=True)
    num_chains: int = field(default=4, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    engine: str | None = field(default=None, kw_only=True)
    progress: bool | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        check_program("model", self.model, SamplingError)
        self._mcmc()

    def _mcmc(self) -> MCMC:
        return MCMC(
            NUTS(self.model),
            num_warmup=self.num_warmup,
            num_samples=self.num_samples,
            num_chains=self.num_chains,
            seed=self.seed,
            engine=self.engine,
            progress=self.progress,
        )

    def run(self, *args: Any, **kwargs: Any) -> ReparamChoice:
        """Search, with these arguments of the program.

        Raises:
            SursumError: the program cannot be sampled.
            KeyboardInterrupt: Ctrl-C.
            Exception: any exception of the program.
        """
        return self._mcmc().choose_coordinates(self.model, args, kwargs)
