"""Run a program with its data at each draw of a posterior, and read log probabilities off its execution."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor

from sursum.common.precision import in_double
from sursum.core.calling import refuse_coroutines, run_program
from sursum.core.trace import Trace
from sursum.core.validation import enable_validation
from sursum.density.dtype_errors import explain_torch_errors
from sursum.density.survey import Survey, check_terms, same_draws, with_all_values
from sursum.distributions.shapes import broadcast_shapes
from sursum.errors import ArgumentError, ObservationError
from sursum.handlers import trace
from sursum.handlers.enumerate.enumerated import Choice, Enumerated, Plan
from sursum.predict.at_draw import AtDraw
from sursum.predict.given_draws import GivenDraws, Sampled, two_dimensions
from sursum.predict.predictive import optional_number
from sursum.predict.stream import Stream
from sursum.predict.vectorise import Draw, at_draws

Reader = Callable[[Trace, Enumerated | None, Callable[[str], torch.Size]], dict[str, Tensor]]
"""From an execution, the handler that gave discrete sites all their values, and the batch shapes of observed sites."""


class Settings(TypedDict, total=False):
    """The options of `log_likelihood` and `log_prior`, which say what they are."""

    chunk: int | None
    batch_ndims: int | None
    store: str | os.PathLike[str] | None


def scores(
    read: Reader,
    model: Callable[..., Any],
    posterior_samples: Sampled | Mapping[str, Tensor],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    group: str,
    **settings: Unpack[Settings],
) -> Mapping[str, Tensor]:
    """What `read` finds in the execution at each draw, (chain, draw, …) by name; `group` is its name in a store."""
    refuse_coroutines(model)
    chunk, store = optional_number("chunk", settings.get("chunk"), 1), settings.get("store")
    draws = GivenDraws.of(posterior_samples, settings.get("batch_ndims"))

    choice = Choice(without=frozenset(draws.values))
    first = {name: value[0] for name, value in draws.values.items()}
    plan, surveyed = survey(model, first, args, kwargs, choice)
    shapes = {
        name: broadcast_shapes(site.fn.batch_shape, site.value.shape[: site.value.dim() - len(site.fn.event_shape)])
        for name, site in surveyed.observed.items()
    }

    def run(values: Mapping[str, Tensor], draw: Draw) -> dict[str, Tensor]:
        with in_double():
            return score(values)

    def score(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        summing = None if plan is None else Enumerated(plan=plan, choice=choice)
        said = explain_torch_errors(lambda: recorder.trace, model, args, kwargs)
        with trace() as recorder, summing or nullcontext() as at, AtDraw(values=values), said:
            run_program(model, args, kwargs)
        return read(recorder.trace, at, shapes.__getitem__)

    if store is not None:
        stored = Stream(store, group, *two_dimensions(draws.shape)).fill(run, draws.values, chunk=chunk)
        return stored.only(stored, flat=len(draws.shape) == 1)
    results = at_draws(run, draws.values, draws.count, chunk=chunk)
    return {name: value.unflatten(0, draws.shape) for name, value in results.items()}


def survey(
    model: Callable[..., Any], values: Mapping[str, Tensor], args: Sequence[Any], kwargs: Mapping[str, Any], choice: Choice
) -> tuple[Plan | None, Trace]:
    """What is to be summed out, and the sites, by an execution at one draw.

    The data may be impossible at the value that a discrete site has in it.

    Raises:
        DensityError: with all values of discrete sites at once the program has other terms.
    """
    said = explain_torch_errors(lambda: recorder.trace, model, args, kwargs)
    asked = Survey(choice=choice)
    try:
        with in_double(), same_draws(0), trace() as recorder, asked as surveyed, AtDraw(values=values), said:
            run_program(model, args, kwargs)
    except (ArgumentError, ObservationError):
        if not surveyed.sites:
            raise
        quiet = enable_validation(False)
        with in_double(), same_draws(0), quiet, trace() as recorder, asked as surveyed, AtDraw(values=values):
            run_program(model, args, kwargs)
    plan, plain = surveyed.plan(), recorder.trace
    if plan is not None:
        summing, together = Enumerated(plan=plan, choice=choice), with_all_values(surveyed.plan_names())
        with in_double(), same_draws(0), together, trace() as whole, summing as at, AtDraw(values=values):
            run_program(model, args, kwargs)
        check_terms(plain, surveyed.chosen, whole.trace, at)
    return plan, plain
