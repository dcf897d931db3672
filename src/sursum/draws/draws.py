"""`Draws`: a mapping from names of sites to the draws of some chains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.other_libraries import refuse_name
from sursum.common.site_names import no_site
from sursum.io.lazy_draws import shape_of

THEIRS = dict.fromkeys(
    ("get_samples", "samples", "posterior", "draws", "extract", "stan_variable"),
    "it is itself a mapping from names of sites to draws (chain, draw, …): `posterior['name']`, `posterior.items()`",
) | {
    "num_draws": "write `posterior.num_samples`",
    "print_summary": "write `print(posterior.summary())`",
    "describe": "write `posterior.summary()`",
    "mean": "write `posterior['name'].mean((0, 1))`, or `posterior.summary()` for all",
    "std": "write `posterior['name'].std((0, 1))`, or `posterior.summary()` for all",
    "quantile": "write `posterior['name'].flatten(0, 1).quantile(q, 0)`, or `posterior.summary()` for all",
    "sample_stats": "the statistics of draws are `posterior.stats`",
    "observed_data": "the data are `posterior.observed`",
    "to_inference_data": "write `posterior.to_arviz()`",
    "to_netcdf": "write `posterior.to_arviz().to_netcdf(path)`, or `posterior.save(path)`",
    "to_dataframe": "write `posterior.to_arviz().to_dataframe()`",
    "sample_posterior_predictive": "write `posterior.predict(…)`",
}
"""Names in other libraries for what a posterior has."""


@dataclass(frozen=True, eq=False, repr=False)
class Draws(Mapping[str, Tensor]):
    """Draws of some chains: a mapping from site names to tensors of shape (chain, draw, *shape of the site).

    Real sites are float64 for any dtype of the program; integer and boolean ones keep their dtype.

    Args:
        sites: latent sites, then deterministic ones, in the order of the program.
        stats: the sampler's statistics of each draw, (chain, draw), under ArviZ's names: `lp` (log density on the
            unconstrained space), `acceptance_rate`, `diverging`, `energy`, `energy_error`, `n_steps`, `step_size`,
            `tree_depth`, `reached_max_treedepth`, `tuning`.
        unconstrained: float64, (chain, draw, n), the points q ∈ Rⁿ themselves.
    """

    sites: Mapping[str, Tensor]
    stats: Mapping[str, NDArray[Any]]
    unconstrained: NDArray[np.float64]

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self.sites[name]
        except (KeyError, TypeError):
            raise no_site(name, self.sites, "these draws") from None

    if not TYPE_CHECKING:  # type checkers know the attributes

        def __getattr__(self, name: str) -> NoReturn:
            # While a copy is being made it has no sites yet.
            sites = self.__dict__.get("sites", {})
            said = THEIRS | {site: f"sites are read by name, `posterior[{site!r}]`" for site in sites}
            refuse_name(self, name, said)

    def __iter__(self) -> Iterator[str]:
        return iter(self.sites)

    def __len__(self) -> int:
        return len(self.sites)

    @property
    def num_chains(self) -> int:
        return int(self.unconstrained.shape[0])

    @property
    def num_samples(self) -> int:
        """Draws of each chain."""
        return int(self.unconstrained.shape[1])

    def __repr__(self) -> str:
        sites = ", ".join(f"{name} {shape_of(self.sites, name)[2:]}" for name in self.sites)
        return f"<{type(self).__name__}: {self.num_chains} × {self.num_samples} draws of {sites}>"
