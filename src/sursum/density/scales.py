"""Which latent sites are scales of other ones: where a hierarchy makes a funnel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.distributions import constraints

from sursum.core.messages import Sample
from sursum.core.trace import Trace
from sursum.density.unused_sites import reach
from sursum.distributions.fluent import unwrap
from sursum.distributions.supports import peel, support_of


def scaled_sites(found: Trace, leaves: Mapping[str, Tensor]) -> dict[str, tuple[str, ...]]:
    """For each latent site on which the scales of others depend, the names of these, if `LocScaleReparam` applies to them.

    Args:
        found: an execution.
        leaves: the free tensor of every latent site that it was computed from.
    """
    bit = {id(leaf): 1 << i for i, leaf in enumerate(leaves.values())}
    names = list(leaves)
    known: dict[Any, int] = {}
    scaled: dict[str, list[str]] = {}
    for name in leaves:
        if name.endswith("_decentered"):  # it is what `LocScaleReparam` made
            continue
        site = found[name]
        fn: Any = unwrap(site.fn) if isinstance(site, Sample) else None
        while (inner := getattr(fn, "base_dist", None)) is not None and hasattr(fn, "reinterpreted_batch_ndims"):
            fn = unwrap(inner)
        scale = getattr(fn, "scale", None)
        if not isinstance(scale, Tensor) or not scale.requires_grad or not hasattr(fn, "loc"):
            continue
        if peel(support_of(fn)) is constraints.real:
            bits = reach(scale, bit, known)
            while bits:
                other = names[(bits & -bits).bit_length() - 1]
                bits &= bits - 1
                if other != name:
                    scaled.setdefault(other, []).append(name)
    return {name: tuple(sites) for name, sites in scaled.items()}
