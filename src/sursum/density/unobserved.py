"""Warn about programs that observe nothing: the posterior is the prior, which is rarely intended."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor

from sursum.common.user_frame import warn
from sursum.core.messages import Factor
from sursum.core.trace import Trace
from sursum.density.unused_sites import last_sites
from sursum.distributions.delta import Delta
from sursum.distributions.fluent import unwrap
from sursum.errors import ObservationWarning


def find_unobserved(
    found: Trace, leaves: Mapping[str, Tensor] | None = None, terms: Mapping[str, Tensor] = MappingProxyType({})
) -> tuple[str, ...] | None:
    """The sites where data would be expected, in a program without data; None if something is observed.

    A factor counts as an observation.

    Args:
        found: an execution.
        leaves: the free tensor of every latent site that `found` was computed from, if available. It distinguishes sites on
            which no other depends, such as data that were left out, from those before them.
        terms: with `leaves`, the log densities of `found`, by site.
    """
    if found.observed or any(isinstance(site, Factor) for site in found.values()):
        return None
    written = {
        name
        for name, site in found.stochastic.items()
        if site.param is None and not site.infer.get("is_subsample") and not isinstance(unwrap(site.fn), Delta)
    }
    ends = [name for name in last_sites(terms, leaves) if name in written] if leaves else []
    return tuple(ends or (name for name in found if name in written))


def announce_empty(observed: Mapping[str, Tensor]) -> None:
    """Warn if all observations are empty.

    Args:
        observed: the data, by site name.

    Warns:
        ObservationWarning: the data are empty.
    """
    if observed and not any(value.numel() for value in observed.values()):
        listed = ", ".join(f"{name!r} of shape {tuple(value.shape)}" for name, value in observed.items())
        warn(
            f"the data are empty, {listed}, so the result is the prior. Check how their rows were selected. "
            "To draw from the prior on purpose use Predictive(model, num_samples=1000)().",
            ObservationWarning,
        )


def announce_unobserved(sites: tuple[str, ...] | None) -> None:
    """Warn about a program that observes nothing, given the result of `find_unobserved`.

    Warns:
        ObservationWarning: nothing is observed.
    """
    if sites is None:
        return
    which = f"the data of {', '.join(map(repr, sites[-5:]))}" if len(sites) < 6 else f"those of {sites[-1]!r}, perhaps"
    warn(
        "no site is observed, and there is no factor: the result is the prior. "
        + (f"If there are data ({which}), pass them to the run and to `obs=`" if sites else "Write a site with `obs=`")
        + ", or observe a site by condition. To draw from the prior on purpose use Predictive(model, num_samples=1000)().",
        ObservationWarning,
    )
