"""`Importance`: a posterior by weighting draws from a guide, or from the prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.other_libraries import answers
from sursum.common.progress import SOON, display_for
from sursum.common.reprs import call_text
from sursum.common.settings import optional_seed, settle, whole_number
from sursum.common.shown import abbreviate
from sursum.common.tables import Shown
from sursum.core.calling import refuse_coroutines
from sursum.core.labels import labels_of
from sursum.distributions.randomness import global_seed
from sursum.draws.psis import Smoothed, resample_indices, smooth
from sursum.errors import VariationalError
from sursum.handlers import ParamStore, block
from sursum.posterior.posterior import Posterior
from sursum.vi.draws import draw_posterior

Array = NDArray[np.float64]


@answers(draws="num_samples", num_draws="num_samples", random_seed="seed", rng_seed="seed")
@dataclass(frozen=True, repr=False)
class Importance:
    r"""Importance sampling: draws from a guide q, weighted to represent the posterior.

    .. math:: z_i \sim q, \qquad w_i = \frac{p(y, z_i)}{q(z_i)}, \qquad p(y) \approx \tfrac1N \sum_i w_i

    Args:
        model: the program. Its latent sites may be discrete.
        guide: a program with the model's latent sites, as for `SVI`; None is the prior, whose weights are likelihoods.
        num_samples: N.
        params: the store with the parameters of guide and model, `svi.params`; None takes the programs' own values.
        seed: an integer of at least 0; None takes one from torch's global generator, which is otherwise left alone.
        progress: whether to show how far it is; None shows it on a terminal or in a notebook.

    Raises:
        VariationalError: an invalid setting.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model(y):
        ...     su.sample("y", dist.Normal(su.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=y)
        >>> found = su.infer.Importance(model, num_samples=500, seed=0).run(torch.tensor(1.0))
        >>> exact = torch.distributions.Normal(0.0, 2**0.5).log_prob(torch.tensor(1.0))
        >>> abs(found.log_evidence - float(exact)) < 4 * found.log_evidence_error
        True
    """

    model: Callable[..., Any]
    guide: Callable[..., Any] | None = None
    num_samples: int = field(default=1000, kw_only=True)
    params: ParamStore | None = field(default=None, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    progress: bool | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        for what, program in (("model", self.model), ("guide", self.model if self.guide is None else self.guide)):
            if not callable(program):
                raise VariationalError(f"`{what}` is {abbreviate(program)}, but must be a program: a callable.")
            refuse_coroutines(program)
        if self.params is not None and not isinstance(self.params, ParamStore):
            raise VariationalError(f"`params` is {type(self.params).__name__}, but must be a store: give `svi.params`.")
        num_samples = whole_number("num_samples", self.num_samples, 1, VariationalError, "leave it out for the default")
        settle(self, {"num_samples": num_samples, "seed": optional_seed(self.seed, VariationalError)})

    def run(self, *args: Any, **kwargs: Any) -> ImportanceSamples:
        """Draw from the guide and weight the draws, for the program with these arguments.

        Raises:
            GuideError: the guide's latent sites are not the model's.
            VariationalError: every weight is 0, or one is NaN.

        Warns:
            DiagnosticWarning: Pareto k-hat is above 0.7: the guide misses part of the posterior.
        """
        # The prior: everything that the model draws, and nothing that it scores.
        guide = self.guide or block(self.model, hide_types=("observe", "factor", "deterministic"))
        store = ParamStore() if self.params is None else self.params
        seed = global_seed() if self.seed is None else self.seed
        display = display_for(self.progress, SOON)
        try:
            drawn = draw_posterior(
                self.model, guide, store, args, kwargs, seed, self.num_samples, labels=labels_of(args, kwargs), display=display
            )
        finally:
            display.close()
        log_weights = np.asarray(drawn.stats["log_weight"][0], dtype=np.float64)
        if np.isnan(log_weights).any() or np.isposinf(log_weights).any():
            raise VariationalError(
                "a weight is not a number: the log density of the model or of the guide is not finite at a draw. Look for a "
                "site whose values or scales diverge."
            )
        if not np.isfinite(log_weights).any():
            raise VariationalError(
                f"all {self.num_samples} weights are 0: the data are impossible at every draw. Draw more, or use a guide that "
                "knows the data."
            )
        return ImportanceSamples(drawn, log_weights)


@dataclass(frozen=True, eq=False)
class ImportanceSamples(Shown):
    """Weighted draws.

    Args:
        draws: those of the guide, unweighted.
        log_weights: log p(y, z) − log q(z) of each, float64 (N,).
    """

    draws: Posterior
    log_weights: Array

    @cached_property
    def smoothed(self) -> Smoothed:
        """The Pareto-smoothed and normalised weights, which `ess`, `mean` and `resample` use."""
        return smooth(self.log_weights)

    @property
    def pareto_k(self) -> float:
        """Up to 0.7 the weighted draws can be trusted; NaN if it cannot be determined."""
        return self.smoothed.pareto_k

    @property
    def ess(self) -> float:
        """How many independent draws of the posterior the weighted ones are worth."""
        return self.smoothed.ess

    @property
    def log_evidence(self) -> float:
        """The logarithm of the estimate of p(y), which is unbiased: the weights are not smoothed for it."""
        return float(np.logaddexp.reduce(self.log_weights) - np.log(len(self.log_weights)))

    @property
    def log_evidence_error(self) -> float:
        """The standard error of `log_evidence`, by the delta method."""
        relative = np.exp(self.log_weights - self.log_evidence)
        return float(relative.std(ddof=1) / np.sqrt(len(relative))) if len(relative) > 1 else np.nan

    def mean(self, name: str) -> Tensor:
        """The posterior mean of a site, float64."""
        weights = torch.from_numpy(np.exp(self.smoothed.log_weights))
        mean: Tensor = torch.tensordot(weights, self.draws[name][0].double(), dims=1)
        return mean

    def resample(self, num_samples: int = 1000, *, seed: int | None = None) -> Posterior:
        """Unweighted draws from the posterior: with replacement, in proportion to the smoothed weights.

        Args:
            num_samples: the number of draws.
            seed: an integer of at least 0; None takes one from torch's global generator.
        """
        num_samples = whole_number("num_samples", num_samples, 1, VariationalError, "1000 is usual")
        chosen = resample_indices(self.smoothed, num_samples, np.random.default_rng(global_seed() if seed is None else seed))
        rows = torch.from_numpy(chosen)
        return replace(
            self.draws,
            sites={name: value[:, rows] for name, value in self.draws.sites.items()},
            stats={name: value[:, chosen] for name, value in self.draws.stats.items()},
            unconstrained=self.draws.unconstrained[:, chosen],
            pareto_k=self.pareto_k,
        )

    def __repr__(self) -> str:
        return (
            f"<ImportanceSamples: {len(self.log_weights)} draws, worth {self.ess:.0f}; log evidence {self.log_evidence:.4g} ± "
            f"{self.log_evidence_error:.2g}; Pareto k {self.pareto_k:.2f}>"
        )
