"""The likelihood of observations that depend on discrete sites, which are summed out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sursum.core.messages import Sample
from sursum.core.trace import Trace, scored
from sursum.handlers.enumerate.elimination import eliminate
from sursum.handlers.enumerate.enumerated import Enumerated
from sursum.handlers.enumerate.potentials import Potential, impossible


def marginal_likelihoods(found: Trace, at: Enumerated | None, plain: Callable[[str], torch.Size]) -> dict[str, Tensor]:
    """The log likelihood of every observed site of an execution, or of several that depend on the same discrete sites.

    Those that share a discrete site have one likelihood, under their names joined by " & ", for each element of the plates
    that this site is in: for a hidden Markov chain one number for each series.

    Args:
        found: the execution.
        at: the handler that gave discrete sites all their values, if any.
        plain: the batch shape of an observed site, by name.
    """
    if at is None:
        return {name: scored(site.but(scale=1.0)).double() for name, site in found.observed.items()}
    values = {name: scored(site.but(scale=1.0)).double() for name, site in found.observed.items() if name not in at.summed}
    rest = [one for one in at.terms if not _is_observed(found, one)]
    without = {one.names: one for one in eliminate(rest, pointwise=True)}
    for one in eliminate(at.terms, pointwise=True):
        names = [name for name in one.names if _observes(found, name)]
        if not names:
            continue
        value = one.value
        # What continuous sites have as densities given the discrete ones is not a likelihood.
        others = [other for key, other in without.items() if set(key) <= set(one.names)]
        if any(_is_continuous(found, name) for name in one.names):
            value = value.sum() - sum(other.value.sum() for other in others)
        value = impossible(value).double()
        shape = plain(names[0]) if len(names) == 1 else None
        values[" & ".join(names)] = (
            value.reshape(shape) if shape is not None and shape.numel() == value.numel() else _narrow(value)
        )
    return values


def _observes(found: Trace, name: str) -> bool:
    site = found.get(name)
    return isinstance(site, Sample) and site.is_observed


def _is_continuous(found: Trace, name: str) -> bool:
    """Whether a site is latent and not one of those that are summed out."""
    site = found.get(name)
    return isinstance(site, Sample) and not site.is_observed and not site.infer.get("is_summed_out")


def _is_observed(found: Trace, one: Potential) -> bool:
    return any(_observes(found, name) for name in one.names)


def _narrow(value: Tensor) -> Tensor:
    """A table without its leading dimensions of size 1."""
    shape: Sequence[int] = value.shape
    first = next((place for place, size in enumerate(shape) if size != 1), len(shape))
    return value.reshape(tuple(shape[first:]))
