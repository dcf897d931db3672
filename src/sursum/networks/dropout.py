"""`MCDropout`: the weights of a network that was trained with dropout, as draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from sursum.common.reprs import call_text
from sursum.common.settings import optional_seed, settle, whole_number
from sursum.core.calling import check_program
from sursum.core.messages import Param, Sample
from sursum.distributions.randomness import global_seed
from sursum.errors import OptimisationError
from sursum.networks.target import Target
from sursum.posterior.assemble import assemble, draws_of
from sursum.posterior.posterior import Posterior
from sursum.training.seeds import DRAW, derive


@dataclass(frozen=True, repr=False)
class MCDropout:
    r"""Monte-Carlo dropout: networks whose dropped inputs stay dropped, as draws of an approximate posterior.

    A layer after dropout with probability p has the weights :math:`W\,\mathrm{diag}(m) / (1 - p)` with
    :math:`m_j \sim \mathrm{Bernoulli}(1 - p)`, one mask for each member, the same for all rows, so that a member is a function.

    Args:
        model: the program, with a network that was trained with dropout and is in evaluation mode now.
        members: how many networks.
        seed: an integer of at least 0; None takes one from torch's global generator, which is otherwise left alone.

    Raises:
        OptimisationError: an invalid setting.

    References:
        Gal, Ghahramani (2016), Dropout as a Bayesian approximation, ICML.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1)).eval()
        >>> def model(x, y=None):
        ...     f = su.module("net", net)(x).squeeze(-1)
        ...     with su.plate("data", len(x)):
        ...         su.sample("y", dist.Normal(f, 0.5), obs=y)
        >>> posterior = su.infer.MCDropout(model, 20, seed=0).run(torch.ones(3, 1))
        >>> posterior["net.3.weight"].shape, bool((posterior["net.3.weight"] == 0.0).any())
        (torch.Size([1, 20, 1, 8]), True)
    """

    model: Callable[..., Any]
    members: int
    seed: int | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        check_program("model", self.model, OptimisationError)
        members = whole_number("members", self.members, 1, OptimisationError, "50 is usual")
        settle(self, {"members": members, "seed": optional_seed(self.seed, OptimisationError)})

    def run(self, *args: Any, **kwargs: Any) -> Posterior:
        """Draw masks for the networks that the program reads with these arguments.

        Raises:
            OptimisationError: no network has dropout, one is in training mode, or its dropout is not followed by a linear layer
                or a convolution in a `Sequential`.
        """
        rng_seed = global_seed() if self.seed is None else self.seed
        target = Target(self.model, args, kwargs, rng_seed=rng_seed, title="MCDropout", parameters=True)
        generator = torch.Generator().manual_seed(derive(rng_seed, DRAW, 0))
        sites = {name: value[None].repeat(self.members, *(1,) * value.dim()) for name, value in _values(target).items()}
        found = False
        for name, owner, value in _weights(target):
            for weight, share in _drop(owner):
                if weight is not value:
                    continue
                found = True
                kept = torch.rand(self.members, value.shape[1], generator=generator) >= share
                mask = kept.double().reshape(self.members, 1, -1, *(1,) * (value.dim() - 2)) / max(1.0 - share, 1e-300)
                sites[name] = sites[name] * mask.to(sites[name].device)
        if not found:
            raise OptimisationError(
                "the program reads no network with dropout whose following layer's weights can be drawn. Give it one, or take "
                "another method."
            )
        rows = torch.cat([value.reshape(self.members, -1) for value in sites.values()], 1)
        return assemble(
            replace(target.subject(), engine=None),
            draws_of({n: v[None] for n, v in sites.items()}, {}, np.asarray(rows.double().cpu())[None]),
        )


def _values(target: Target) -> dict[str, Tensor]:
    return {name: target.trace[name].value.detach().double() for name in target.leaves}


def _weights(target: Target) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """The parameters of networks: the site, the network and the parameter itself."""
    for site in target.trace.values():
        param = site.param if isinstance(site, Sample) else site if isinstance(site, Param) else None
        if param is not None and param.owner is not None and site.name in target.leaves:
            yield site.name, param.owner, cast(Tensor, param.initial)


def _drop(net: nn.Module) -> Iterator[tuple[Tensor, float]]:
    """The weights of layers that follow dropout, and the probability with which an input is dropped.

    Raises:
        OptimisationError: dropout in training mode, or that nothing suitable follows.
    """
    followed: set[int] = set()
    for part in net.modules():
        if not isinstance(part, nn.Sequential):
            continue
        layers = list(part)
        for layer, following in pairwise(layers):
            linear = isinstance(layer, nn.Dropout) and isinstance(following, nn.Linear)
            spatial = isinstance(layer, (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)) and isinstance(
                following, (nn.Conv1d, nn.Conv2d, nn.Conv3d)
            )
            if linear or (spatial and following.groups == 1):
                followed.add(id(layer))
                yield cast(Tensor, following.weight), float(cast(Any, layer).p)
    for path, part in net.named_modules():
        if isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0.0:
            if part.training:
                raise OptimisationError(
                    f"layer {path!r} is in training mode, where it draws by itself. Call .eval() on the network: the masks "
                    "are part of the weights here."
                )
            if id(part) not in followed:
                raise OptimisationError(
                    f"the dropout of layer {path!r} ({type(part).__name__}) is not followed by a linear layer, or Dropout1d to "
                    "3d by a convolution, in a Sequential, so that its masks are not weights. Put it there, or take another "
                    "method."
                )
