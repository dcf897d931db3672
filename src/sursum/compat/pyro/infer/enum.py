"""Enumeration of discrete sites: they are summed out by sursum's densities and bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import sursum as su
from sursum.compat.pyro.infer.elbo import ELBO
from sursum.compat.pyro.running import as_program
from sursum.errors import OptionError
from sursum.handlers import Sample


def config_enumerate(
    guide: Callable[..., Any] | None = None,
    default: str | None = "parallel",
    expand: bool = False,
    num_samples: int | None = None,
    tmc: str = "diagonal",
) -> Any:
    """A program whose discrete sites are summed out; also as a decorator.

    Args:
        guide: the program, a model or a guide.
        default: "parallel" or "sequential", which give the same sum; None leaves them alone.
        expand: has no use.
        num_samples, tmc: not here.
    """
    if num_samples is not None:
        raise OptionError("`num_samples` is given, but sums are exact here: leave it out.")
    made = su.infer.config_enumerate(default=default)
    return made if guide is None else made(guide)


class TraceEnum_ELBO(ELBO):
    """The evidence lower bound with exact sums over discrete sites of guide and model."""

    bound = su.infer.TraceEnum_ELBO


class JitTraceEnum_ELBO(TraceEnum_ELBO):
    """`TraceEnum_ELBO`."""


class TraceTMC_ELBO(TraceEnum_ELBO):
    """`TraceEnum_ELBO`: sums are exact, and not estimated."""


def infer_discrete(
    fn: Callable[..., Any] | None = None,
    first_available_dim: int | None = None,
    temperature: int = 1,
    *,
    strict_enumeration_warning: bool = True,
) -> Any:
    """A program that draws its discrete sites from their posterior, given its data and its other sites.

    Args:
        fn: the program, with handlers that give its other latent sites values, such as ``poutine.replay(model, trace)``.
        first_available_dim, strict_enumeration_warning: of Pyro's own machinery; they have no use here.
        temperature: 1 for draws, 0 for the most probable values.

    Example:
        >>> import torch, sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> def model(y):
        ...     z = pyro.sample("z", dist.Bernoulli(0.5))
        ...     pyro.sample("y", dist.Normal(8 * z, 1.0), obs=y)
        ...     return z
        >>> infer_discrete(model, temperature=0)(torch.tensor(7.0))
        tensor(1., dtype=torch.float64)
    """
    if fn is None:
        return lambda program: infer_discrete(program, first_available_dim, temperature)
    program = as_program(fn)

    def inferred(*args: Any, **kwargs: Any) -> Any:
        with su.block(), torch.no_grad():
            found = su.trace(program).get_trace(*args, **kwargs)
        held = {name: site.value for name, site in found.stochastic.items() if not _is_discrete(site)}
        chosen = _chosen(program, held, args, kwargs, temperature)
        return su.substitute(program, data=held | chosen)(*args, **kwargs)

    return inferred


def _is_discrete(site: Sample) -> bool:
    return bool(getattr(site.fn.support, "is_discrete", False)) and not site.infer.get("is_subsample")


def _chosen(
    program: Callable[..., Any], held: dict[str, Tensor], args: Any, kwargs: Any, temperature: int
) -> dict[str, Tensor]:
    """Values of the discrete sites from their posterior, the others being held."""
    data = {name: value.detach() for name, value in held.items()}
    with su.block():
        posterior = su.infer.Laplace(su.condition(program, data=data), num_samples=1, seed=0).run(*args, **kwargs)
        drawn = su.infer.infer_discrete(posterior, temperature=temperature)
    return {name: drawn[name][0, 0] for name in drawn if name not in posterior}
