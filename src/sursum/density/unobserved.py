"""What is said where a program observes nothing: its posterior is its prior, which is seldom meant."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sursum.common.user_frame import warn
from sursum.core.messages import Factor
from sursum.core.trace import Trace
from sursum.density.unused_sites import last_sites
from sursum.distributions.delta import Delta
from sursum.distributions.fluent import unwrapped
from sursum.errors import ObservationWarning


def unobserved(found: Trace, leaves: Mapping[str, Tensor] | None = None) -> tuple[str, ...] | None:
    """The sites that data would be expected of, in a program that has none; None where something is observed.

    A factor is as good as an observation.

    Args:
        found: an execution.
        leaves: the free tensor of every latent site that `found` was computed from, if there is one. It tells sites on which
            no other depends, such as data that were left out, from those that come before them.
    """
    if found.observed or any(isinstance(site, Factor) for site in found.values()):
        return None
    written = {
        name
        for name, site in found.stochastic.items()
        if site.param is None and not site.infer.get("is_subsample") and not isinstance(unwrapped(site.fn), Delta)
    }
    ends = [name for name in last_sites(found, leaves) if name in written] if leaves else []
    return tuple(ends or (name for name in found if name in written))


def announce_empty(observed: Mapping[str, Tensor]) -> None:
    """Warn where all that is observed has no element.

    Args:
        observed: the data, by site name.

    Warns:
        ObservationWarning: the data are empty.
    """
    if observed and not any(value.numel() for value in observed.values()):
        listed = ", ".join(f"{name!r} of shape {tuple(value.shape)}" for name, value in observed.items())
        warn(
            f"the data are empty, {listed}: they say nothing, and what comes out is the prior. Check what selected their rows. "
            "To draw from the prior on purpose use Predictive(model, num_samples=1000)().",
            ObservationWarning,
        )


def announce_unobserved(sites: tuple[str, ...] | None) -> None:
    """Warn of a run of a program that observes nothing, with what `unobserved` gave.

    Warns:
        ObservationWarning: nothing is observed.
    """
    if sites is None:
        return
    which = f"the data of {', '.join(map(repr, sites[-5:]))}" if len(sites) < 6 else f"those of {sites[-1]!r}, perhaps"
    warn(
        "no site is observed, and there is no factor: what comes out is the prior. "
        + (f"If there are data ({which}), pass them to the run and to `obs=`" if sites else "Write a site with `obs=`")
        + ", or observe a site by condition. To draw from the prior on purpose use Predictive(model, num_samples=1000)().",
        ObservationWarning,
    )
