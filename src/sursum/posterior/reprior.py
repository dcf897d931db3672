"""Another prior without another run: the draws are weighted, and the program is run again only where that fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from sursum.common.patterns import lookup, suggestion
from sursum.core.calling import OfThisProcess, Program
from sursum.core.messages import Sample
from sursum.distributions.supports import inside, support_of
from sursum.draws.psis import LIMIT, Smoothed, smooth
from sursum.errors import PredictionError
from sursum.handlers.enumerate.enumerated import Choice
from sursum.handlers.reprior import reprior as with_prior
from sursum.io.lazy_draws import arrays_of
from sursum.predict.log_prior import priors_at_draws
from sursum.predict.scores import survey

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Refit(OfThisProcess):
    """How a posterior was made: `run(model, posterior)` makes that of another program, starting from this one."""

    run: Callable[[Callable[..., Any], Any], Any]


def reprior(posterior: Any, program: Program, prior: Mapping[str, Distribution]) -> Any:
    """The `Posterior` of `program` under other priors, from the one under its own; see `Posterior.reprior`."""
    changed = _changed_sites(posterior, prior)
    model: Callable[..., Any] = with_prior(program.model, prior=prior)
    other = Program(model, program.args, program.kwargs)
    before, after = (_sites_at_first(posterior, one) for one in (program, other))
    moved = next((name for name in changed if not _same_support(before[name], after[name])), None)
    if moved is not None:
        return _refit(posterior, other, f"the new prior of {moved!r} has another support")
    old, new = (priors_at_draws(one.model, posterior, one.args, one.kwargs, scaled=True) for one in (program, other))
    hidden = next((name for name in changed if name not in old), None)
    if hidden is not None:
        return _refit(posterior, other, f"the prior of {hidden!r} depends on a discrete site that is summed out")
    ratio = _sum_by_draw(new) - _sum_by_draw(old)
    if not np.isfinite(ratio).any():
        return _refit(posterior, other, "no draw is possible under the new prior")
    weights = smooth(ratio.ravel())
    if weights.pareto_k > LIMIT:
        return _refit(posterior, other, f"the Pareto k of the weights is {weights.pareto_k:.2f}, above {LIMIT}")
    return _resample(posterior, other, weights, ratio)


def _changed_sites(posterior: Any, prior: Mapping[str, Distribution]) -> list[str]:
    """The latent sites that `prior` has entries for.

    Raises:
        PredictionError: an entry for no latent site.
    """
    found = {name: entry[0] for name in posterior.latents if (entry := lookup(prior, name)) is not None}
    for key in prior:
        if key not in found.values():
            raise PredictionError(
                f"reprior: the prior for {key!r} is for no latent site.{suggestion(key, posterior.latents)} "
                "A site that is reparametrised was drawn through a different one."
            )
    return list(found)


def _sites_at_first(posterior: Any, program: Program) -> Mapping[str, Sample]:
    """The latent sites at the first draw."""
    values = {name: posterior[name][0, 0] for name in posterior.latents}
    choice = Choice(without=frozenset(values))
    _, found = survey(program.model, values, program.args, program.kwargs, choice)
    return found.stochastic


def _same_support(before: Sample, after: Sample) -> bool:
    """Whether two priors of a site have the same support, as far as that can be told."""
    try:
        one, other = support_of(before.fn), support_of(after.fn)
    except NotImplementedError:
        return False
    return bool(inside(one, other)) and bool(inside(other, one))


def _sum_by_draw(terms: Mapping[str, Tensor]) -> Array:
    """The sum of all terms at each draw, (chain, draw)."""
    total: Array = np.sum(
        [value.flatten(2).sum(2).numpy() if value.dim() > 2 else value.numpy() for value in terms.values()], 0
    )
    return total


def _refit(posterior: Any, program: Program, reason: str) -> Any:
    if posterior.refit is None:
        raise PredictionError(
            f"the draws cannot be weighted, since {reason}, and this posterior cannot be fitted again: it was loaded from a "
            "file, or not made by `MCMC.run`. Fit the program under the new priors: `su.reprior(model, prior)`."
        )
    found = posterior.refit.run(program.model, posterior)
    return replace(found, notes=(*found.notes, f"Fitted again under other priors: {reason}."))


def _resample(posterior: Any, program: Program, weights: Smoothed, ratio: Array) -> Any:
    """As many draws as before, each repeated in proportion to its weight, in their order."""
    shape = ratio.shape
    ends = np.cumsum(np.exp(weights.log_weights))
    rows = np.searchsorted(ends / ends[-1], (np.arange(ratio.size) + 0.5) / ratio.size)

    def taken(values: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = np.asarray(values).reshape(-1, *values.shape[2:])[rows].reshape(*shape, *values.shape[2:])
        return found

    sites = {name: torch.from_numpy(taken(value)) for name, value in arrays_of(posterior.sites).items()}
    buffers = {name: torch.from_numpy(taken(value)) for name, value in arrays_of(posterior.buffers).items()}
    stats = {"lp": taken(posterior.stats["lp"] + ratio)} if "lp" in posterior.stats else {}
    k = "not defined, as the weights are nearly equal" if np.isnan(weights.pareto_k) else f"{weights.pareto_k:.2f}"
    note = f"Weighted to other priors: worth {weights.ess:,.0f} of {ratio.size:,} draws; Pareto k is {k}."
    return replace(
        posterior,
        sites=sites,
        stats=stats,
        unconstrained=taken(posterior.unconstrained),
        warmup=type(posterior.warmup)({}, {}, np.empty((0, 0, 0))),
        groups={},
        buffers=buffers,
        notes=(*posterior.notes, note),
        program=program,
        pareto_k=weights.pareto_k,
        mode=None,
        log_evidence=None,
        states=(),
    )
