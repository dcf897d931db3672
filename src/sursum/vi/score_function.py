r"""Score-function gradients, for draws that cannot be differentiated: :math:`\nabla E_q[f] = E_q[(f - b)\,\nabla \log q]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sursum.core.messages import Sample, Site
from sursum.errors import VariationalError
from sursum.vi.elbo import Baselines
from sursum.vi.particle import Pair, needs_score

_DECAY = 0.9
_KEYS = frozenset({"use_decaying_avg_baseline", "baseline_beta", "baseline_value"})


def score_terms(pairs: Sequence[Pair], keep: int | None, baselines: Baselines) -> Tensor:
    """Terms to add to the mean of log w over particles: zero in value, and in gradient what the bound lacks.

    The cost of a site is summed over the plates that it is not in (elements of a plate are independent), and reduced
    by baselines, which change only the variance: the mean cost of the other particles, if there are any; the site's
    running average or own value, if ``infer={"baseline": {…}}`` requests one.
    """
    count = len(pairs) if keep is None else 1
    total: Tensor = torch.zeros(())
    for name, site in pairs[0].guide.stochastic.items():
        if not needs_score(site):
            continue
        costs = [_cost(one, name) for one in pairs]
        shares = _leave_one_out(costs) if keep is None else [_without_own(costs[0], keep)]
        settings = _settings(site)
        for one, cost, share in zip(pairs, costs, shares, strict=True):
            node: Sample = one.guide.stochastic[name]
            log_q = node.but(scale=1.0).log_prob()
            value = settings.get("baseline_value")
            value = (one.guide.stochastic[name].infer.get("baseline") or {}).get("baseline_value", value)
            advantage = share
            if value is not None:
                advantage = advantage - value.detach()
            if settings.get("use_decaying_avg_baseline"):
                advantage = advantage - baselines.get(name, torch.zeros((), dtype=cost.dtype))
            # The value of the log density is subtracted again: the result is zero, with a gradient.
            total = total + ((log_q - log_q.detach()) * advantage).sum() / _number(log_q, cost, keep, count)
            if value is not None:
                error = (value - cost).square().sum() / count
                total = total - (error - error.detach())
        if settings.get("use_decaying_avg_baseline"):
            beta = float(settings.get("baseline_beta", _DECAY))
            now = torch.stack([cost.mean() for cost in costs]).mean()
            before = baselines.get(name)
            baselines[name] = now if before is None else beta * before + (1 - beta) * now
    return total


def _number(log_q: Tensor, cost: Tensor, keep: int | None, count: int) -> int:
    """The number of particles that a term is divided by."""
    if keep is None:
        return count
    return log_q.shape[keep] if log_q.dim() >= -keep else 1


def _cost(pair: Pair, name: str) -> Tensor:
    """The terms of log p − log q that site `name` may change, over the plates of the site; without a gradient."""
    site = pair.guide[name]
    total: Tensor = torch.zeros(())
    earlier = True
    for other, term in pair.log_q.items():
        earlier = earlier and other != name
        # What the guide drew before does not depend on this site.
        if not earlier:
            total = total - _over(term.detach(), pair.guide[other], site)
    for other, term in pair.log_p.items():
        total = total + _over(term.detach(), pair.model[other], site)
    return total


def _over(term: Tensor, of: Site, site: Site) -> Tensor:
    """A term summed over the dimensions that are not plates of both."""
    shared = {frame.dim for frame in of.plates if frame.name in {own.name for own in site.plates}}
    for dim in range(-term.dim(), 0):
        if dim not in shared:
            term = term.sum(dim, keepdim=True)
    while term.dim() and -term.dim() not in shared:
        term = term.squeeze(0)
    return term


def _leave_one_out(costs: Sequence[Tensor]) -> list[Tensor]:
    if len(costs) == 1:
        return list(costs)
    total: Any = sum(costs)
    return [cost - (total - cost) / (len(costs) - 1) for cost in costs]


def _without_own(cost: Tensor, keep: int) -> Tensor:
    """The same along the dimension of the particles."""
    if cost.dim() < -keep or cost.shape[keep] == 1:
        return cost
    return cost - (cost.sum(keep, keepdim=True) - cost) / (cost.shape[keep] - 1)


def _settings(site: Sample) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = site.infer.get("baseline") or {}
    unknown = sorted(set(settings) - _KEYS)
    if unknown:
        raise VariationalError(
            f"the baseline of site {site} has the settings {', '.join(map(repr, unknown))}, which are not known. There are "
            f"{', '.join(map(repr, sorted(_KEYS)))}."
        )
    return settings
