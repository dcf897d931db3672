"""Enumeration of discrete sites: they are summed out by sursum's densities and bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

import sursum as su
import sursum.compat.pyro.distributions as dist
from sursum.compat.pyro import poutine
from sursum.compat.pyro.infer.elbo import ELBO, Program
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
        expand: whether values are as large as a draw would be, apart from the dimension of their own.
        num_samples, tmc: not here.
    """
    if num_samples is not None:
        raise OptionError("`num_samples` is given, but sums are exact here: leave it out.")
    if guide is None:
        return lambda program: config_enumerate(program, default, expand)
    made = su.infer.config_enumerate(default=default)
    return made(poutine.infer_config(guide, config_fn=lambda site: {"expand": True}) if expand else guide)


class TraceEnum_ELBO(ELBO):
    """The evidence lower bound with exact sums over discrete sites of guide and model."""

    bound = su.infer.TraceEnum_ELBO

    def compute_marginals(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> dict[str, Distribution]:
        """The posterior of each discrete site of the model that is summed out, at one draw of the guide, by name.

        Raises:
            OptionError: `num_particles` is not 1.

        Example:
            >>> import torch, sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
            >>> @config_enumerate
            ... def model(y):
            ...     z = pyro.sample("z", dist.Bernoulli(0.5))
            ...     pyro.sample("y", dist.Normal(z, 1.0), obs=y)
            >>> TraceEnum_ELBO().compute_marginals(model, lambda y: None, torch.tensor(0.5))["z"].probs
            tensor(0.5000)
        """
        if self.num_particles != 1:
            raise OptionError(f"compute_marginals is at one draw of the guide, but num_particles is {self.num_particles}: 1.")
        program, held = self._at_a_draw(model, guide, args, kwargs)
        with su.block():
            posterior = _given(program, held, args, kwargs)
            found = su.infer.discrete_probabilities(posterior)
        sites = su.block(su.trace(program).get_trace)(*args, **kwargs).stochastic
        return {name: _distribution(sites[name].fn, found[name][0, 0]) for name in sites if name in found}

    def sample_posterior(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Any:
        """What the model returns at a draw of the guide, its discrete sites drawn from their posterior given that."""
        program, _ = self._at_a_draw(model, guide, args, kwargs)
        return infer_discrete(program)(*args, **kwargs)

    def _at_a_draw(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Program, dict[str, Tensor]]:
        """The model at a draw of the guide, and the draw."""
        with su.block(), torch.no_grad():
            drawn = su.trace(as_program(guide)).get_trace(*args, **kwargs)
        held = {name: site.value for name, site in drawn.stochastic.items() if not site.infer.get("is_subsample")}
        return su.substitute(as_program(model), data=held), held


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
    with su.block():
        posterior = _given(program, held, args, kwargs)
        drawn = su.infer.infer_discrete(posterior, temperature=temperature)
    return {name: drawn[name][0, 0] for name in drawn if name not in posterior}


def _given(program: Callable[..., Any], held: dict[str, Tensor], args: Any, kwargs: Any) -> su.Posterior:
    """The program with its other sites held: a posterior of the discrete ones."""
    data = {name: value.detach() for name, value in held.items()}
    return su.infer.Laplace(su.condition(program, data=data), num_samples=1, seed=0).run(*args, **kwargs)


def _distribution(fn: Distribution, probs: Tensor) -> Distribution:
    """A distribution of the kind of `fn`, over the values of its support."""
    base = fn.base_dist if isinstance(fn, Independent) else fn
    probs = probs.to(torch.get_default_dtype())
    found: Distribution
    if isinstance(base, torch.distributions.Bernoulli):
        found = dist.Bernoulli(probs[..., 1])
    else:
        hot = isinstance(base, torch.distributions.OneHotCategorical)
        found = dist.OneHotCategorical(probs) if hot else dist.Categorical(probs)
    return found
