"""`log_likelihood`: the log probability of each observation at each draw of a posterior."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from sursum.common.precision import in_double
from sursum.core.calling import refuse_coroutines, refuse_shadowed, run_program
from sursum.core.validation import enable_validation
from sursum.density.dtype_errors import explain_torch_errors
from sursum.density.survey import Survey
from sursum.distributions.shapes import broadcast_shapes
from sursum.errors import ArgumentError, ObservationError, PredictionError
from sursum.handlers import trace
from sursum.handlers.enumerate.enumerated import Choice, Enumerated, Plan
from sursum.predict.predictive import AtDraw, GivenDraws, Sampled, optional_number, two_dimensions
from sursum.predict.stream import Stream
from sursum.predict.summed_likelihood import marginal_likelihoods
from sursum.predict.vectorise import Draw, at_draws


def log_likelihood(
    model: Callable[..., Any],
    posterior_samples: Sampled | Mapping[str, Tensor],
    /,
    *args: Any,
    chunk: int | None = None,
    batch_ndims: int | None = None,
    store: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> Mapping[str, Tensor]:
    r"""The pointwise log-likelihood, :math:`\log p(y_i \mid z^{(s)})` of every observation i at every draw s.

    Plates are not subsampled and no `scale` is applied; a masked observation has 0. Discrete sites without draws are summed
    out. Observations that depend on the same one have one likelihood, for each element of its plates: the labels of a
    mixture leave one number for each observation, the states of a hidden Markov chain one for each series. If they are of
    several sites its name is theirs, joined by " & ".

    Args:
        model: the program.
        posterior_samples: a `Posterior`, or a mapping from names of sites to draws.
        args, kwargs: arguments of the program, data included: those of the fit, or held-out ones.
        chunk: how many draws to evaluate at once; None chooses by the memory of one.
        batch_ndims: how many leading dimensions of the mapping's tensors count draws: 1 by default; a `Posterior` has 2.
        store: the store of a run, to whose group `log_likelihood` the results are written, in bounded memory; the result is
            read from there lazily. After a kill, repeating the call continues from what was written.

    Returns:
        For every observed site float64 of shape (chain, draw, *batch shape), or for a mapping (draw, *batch shape).

    Raises:
        StorageError: the store is none of a run, or has that group already.
        PredictionError: nothing is observed, or a latent site has no draws.
        OptionError: the program has a parameter that is called `chunk`, `batch_ndims` or `store`.

    References:
        Vehtari, Gelman, Gabry (2017), Practical Bayesian model evaluation using leave-one-out cross-validation and
        WAIC, section 2.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> su.infer.log_likelihood(model, {"mu": torch.zeros(2)}, torch.tensor([0.0, 1.0]))["y"].round(decimals=4)
        tensor([[-0.9189, -1.4189],
                [-0.9189, -1.4189]], dtype=torch.float64)
    """
    refuse_shadowed(model, "log_likelihood", ["chunk", "batch_ndims", "store"])
    return pointwise(model, posterior_samples, args, kwargs, chunk=chunk, batch_ndims=batch_ndims, store=store)


def pointwise(
    model: Callable[..., Any],
    posterior_samples: Sampled | Mapping[str, Tensor],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    chunk: int | None = None,
    batch_ndims: int | None = None,
    store: str | os.PathLike[str] | None = None,
) -> Mapping[str, Tensor]:
    """`log_likelihood` of a program whose arguments stand apart from the options."""
    refuse_coroutines(model)
    chunk = optional_number("chunk", chunk, 1)
    draws = GivenDraws.of(posterior_samples, batch_ndims)

    choice = Choice(without=frozenset(draws.values))
    surveyed = _survey(model, {name: value[0] for name, value in draws.values.items()}, args, kwargs, choice)

    def run(values: Mapping[str, Tensor], draw: Draw) -> dict[str, Tensor]:
        with in_double():
            return score(values)

    def score(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        plan, shapes = surveyed
        summing = None if plan is None else Enumerated(plan=plan, choice=choice)
        said = explain_torch_errors(lambda: recorder.trace, model, args, kwargs)
        with trace() as recorder, summing or nullcontext() as at, AtDraw(values=values), said:
            run_program(model, args, kwargs)
        if not recorder.trace.observed:
            raise PredictionError(
                "the program observes nothing with these arguments, so there is no likelihood. Call it with its data."
            )
        return marginal_likelihoods(recorder.trace, at, shapes.__getitem__)

    if store is not None:
        stored = Stream(store, "log_likelihood", *two_dimensions(draws.shape)).fill(run, draws.values, chunk=chunk)
        return stored.only(stored, flat=len(draws.shape) == 1)
    results = at_draws(run, draws.values, draws.count, chunk=chunk)
    return {name: value.unflatten(0, draws.shape) for name, value in results.items()}


def _survey(
    model: Callable[..., Any], values: Mapping[str, Tensor], args: Sequence[Any], kwargs: Mapping[str, Any], choice: Choice
) -> tuple[Plan | None, dict[str, torch.Size]]:
    """What is to be summed out, and the batch shapes of the observed sites, by a run at one draw.

    The data may be impossible at the value that a discrete site has in it.
    """
    said = explain_torch_errors(lambda: recorder.trace, model, args, kwargs)
    survey = Survey(choice=choice)
    try:
        with in_double(), trace() as recorder, survey as surveyed, AtDraw(values=values), said:
            run_program(model, args, kwargs)
    except (ArgumentError, ObservationError):
        if not surveyed.sites:
            raise
        with in_double(), enable_validation(False), trace() as recorder, survey as surveyed, AtDraw(values=values):
            run_program(model, args, kwargs)
    shapes = {
        name: broadcast_shapes(site.fn.batch_shape, site.value.shape[: site.value.dim() - len(site.fn.event_shape)])
        for name, site in recorder.trace.observed.items()
    }
    return surveyed.plan(), shapes
