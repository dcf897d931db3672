"""`DeepEnsemble`: the same program trained from several starting points."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sursum.common.reprs import call_text
from sursum.common.settings import optional_seed, settle, whole_number
from sursum.compiler.engine import DENSITY_ENGINES, ENGINES, check_engine
from sursum.core.calling import check_program
from sursum.core.messages import Param, Sample
from sursum.distributions.randomness import global_seed
from sursum.errors import OptimisationError
from sursum.networks.target import Target
from sursum.optim import as_optim
from sursum.optimise.fit import Fit
from sursum.posterior.assemble import assemble, draws_of, stack_buffers
from sursum.posterior.posterior import Posterior
from sursum.training.seeds import SET_UP, derive


@dataclass(frozen=True, repr=False)
class DeepEnsemble:
    r"""A deep ensemble: networks that were trained from independent initial weights, as draws of a posterior.

    Each member is fitted by `Fit`: by maximum likelihood, or with a lifted program to a mode of its posterior. Layers are
    initialised again for each member by their own `reset_parameters`; what has none, and what is not a network's, starts where
    the program starts it.

    Args:
        model: the program.
        members: how many.
        optim: an optimiser, as for `Fit`; None for L-BFGS on all data.
        num_steps: steps of each member.
        seed: an integer of at least 0; None takes one from torch's global generator, which is otherwise left alone.
        engine: as for `Fit`; the posterior says which it was.

    Raises:
        OptimisationError: an invalid setting.

    References:
        Lakshminarayanan, Pritzel, Blundell (2017), Simple and scalable predictive uncertainty estimation using deep ensembles,
        NeurIPS.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> net = torch.nn.Linear(1, 1)
        >>> def model(x, y=None):
        ...     f = su.module("net", net)(x).squeeze(-1)
        ...     with su.plate("data", len(x)):
        ...         su.sample("y", dist.Normal(f, 0.5), obs=y)
        >>> x = torch.linspace(-1.0, 1.0, 20)[:, None]
        >>> posterior = su.infer.DeepEnsemble(model, 3, seed=0).run(x, 2.0 * x.squeeze(-1))
        >>> posterior["net.weight"].flatten().round(decimals=3).tolist()
        [2.0, 2.0, 2.0]
        >>> posterior.module("net")(x).shape
        torch.Size([3, 20, 1])
    """

    model: Callable[..., Any]
    members: int
    optim: Any = field(default=None, kw_only=True)
    num_steps: int = field(default=1000, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    engine: str | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        check_program("model", self.model, OptimisationError)
        whole = {
            name: whole_number(name, getattr(self, name), 1, OptimisationError, f"{usual} is usual")
            for name, usual in (("members", 5), ("num_steps", 1000))
        }
        settle(self, {**whole, "seed": optional_seed(self.seed, OptimisationError)})
        if self.optim is not None:
            settle(self, {"optim": as_optim(self.optim, OptimisationError)})
        check_engine(self.engine, OptimisationError, ENGINES if self.optim is None else DENSITY_ENGINES)

    def run(self, *args: Any, **kwargs: Any) -> Posterior:
        """Train the members with these arguments of the program.

        Returns:
            One chain with a draw for each member; ``stats["lp"]`` are their log densities.

        Warns:
            DiagnosticWarning: a member has not converged, as for `Fit`.
        """
        rng_seed = global_seed() if self.seed is None else self.seed
        first = Target(self.model, args, kwargs, rng_seed=rng_seed, title="DeepEnsemble", parameters=True)
        fits = []
        for member in range(self.members):
            stream = derive(rng_seed, SET_UP, member)
            start = _anew(first, stream)
            fit = Fit(self.model, init=start, optim=self.optim, num_steps=self.num_steps, seed=stream, engine=self.engine)
            fits.append(fit.run(*args, **kwargs))
        sites = {name: torch.stack([fit[name].double() for fit in fits])[None] for name in first.leaves}
        free = torch.stack([first.coordinates.inv(fit) for fit in fits]).double().cpu().numpy()
        stats = {"lp": np.array([[fit.log_density for fit in fits]])}
        buffers = stack_buffers([[fit.buffers for fit in fits]])
        return assemble(replace(first.subject(), engine=fits[0].engine), draws_of(sites, stats, free[None]), buffers=buffers)


def _anew(target: Target, stream: int) -> dict[str, Tensor]:
    """Initial values of the networks' parameters, drawn by their layers."""
    owners: dict[int, tuple[nn.Module, str]] = {}
    names: dict[str, tuple[int, str]] = {}
    for site in target.trace.values():
        param = site.param if isinstance(site, Sample) else site if isinstance(site, Param) else None
        if param is None or param.owner is None or site.name not in target.leaves:
            continue
        path = next(path for path, value in param.owner.named_parameters() if value is param.initial)
        owners[id(param.owner)] = param.owner, path
        names[site.name] = id(param.owner), path
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream)
        fresh = {key: _reset(owner) for key, (owner, _) in owners.items()}
    return {name: fresh[key][path] for name, (key, path) in names.items()}


def _reset(owner: nn.Module) -> dict[str, Tensor]:
    net = copy.deepcopy(owner)
    for part in net.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
    return {path: value.detach() for path, value in net.named_parameters()}
