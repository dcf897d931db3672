"""The first run of a program, which finds its latent sites, and discrete ones that are to be summed out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.core.arguments import describe_nan
from sursum.core.messages import Deterministic, Sample
from sursum.core.trace import Trace
from sursum.density.bypassed_module import check_caches, watch_originals
from sursum.density.execution import Choose, Execution
from sursum.density.init_values import JITTER, SPREAD, carry_over
from sursum.density.layout import site_dtype
from sursum.density.search import runs
from sursum.density.survey import PROOFS, Survey, check_terms, with_all_values
from sursum.density.table_limit import TableLimit
from sursum.density.unconstrain import Placed, refuse_subsamples
from sursum.density.whole import MOST_DOUBLINGS, Whole
from sursum.errors import ArgumentError, DensityError, ObservationError
from sursum.handlers.enumerate.enumerated import ADVICE, Enumerated, Plan
from sursum.handlers.enumerate.held import is_held

_ATTEMPTS = 10


@dataclass(frozen=True)
class FirstRun:
    """What a program is made of.

    Args:
        plain: an execution with one value of each discrete site.
        whole: one with all of them; the same if there are none.
        leaves: the coordinates of every latent site, of which `whole` is a function.
        reaches: how far from these starts are drawn, by site.
        plan: what is summed out; None if there is nothing.
        of_discrete: deterministic sites that depend on it.
        exit: the line at which numbers leave torch without an operator; None if they do not.
        terms: the log densities of `whole`, by site.
    """

    plain: Trace
    whole: Trace
    leaves: Mapping[str, Tensor]
    reaches: Mapping[str, float]
    plan: Plan | None
    of_discrete: frozenset[str]
    exit: str | None
    terms: Mapping[str, Tensor]


def first_run(execution: Execution) -> FirstRun:
    """A first execution, with a free leaf for every latent site: at initial values, or anywhere the program runs.

    Once with one value of each discrete site, once with all of them if there are any.
    """
    rng = np.random.default_rng(0)

    def attempt(number: int) -> FirstRun:
        leaves: dict[str, Tensor] = {}
        reaches: dict[str, float] = {}
        held: list[str] = []

        def choose(site: Sample, free_shape: torch.Size, onto: Any) -> Tensor:
            free = carry_over(site, onto)
            reaches[site.name] = SPREAD if free is None else JITTER
            if isinstance(onto, Whole):
                held.append(site.name)
                reaches[site.name] = 0.0
                free = onto.drawn(site, rng, free_shape, min(number, MOST_DOUBLINGS)) if free is None else free
                leaves[site.name] = free.to(site_dtype(site)).requires_grad_()
                return leaves[site.name]
            if free is None:
                free = torch.zeros(free_shape, dtype=site_dtype(site))
            if number:
                away = rng.uniform(-number, number, tuple(free_shape))
                free = free + torch.as_tensor(away, dtype=free.dtype)
            leaves[site.name] = free.requires_grad_()
            return leaves[site.name]

        with watch_originals() as originals:
            plain, survey = execution.survey(choose)
        originals.check(plain)
        for name in held:  # behind the others, so that these are a vector of their own
            leaves[name], reaches[name] = leaves.pop(name), reaches.pop(name)
        refuse_subsamples(plain)
        plan, whole, of_discrete = survey.plan(), plain, frozenset[str]()
        if plan is not None:
            plan, whole = _enumerate(replace(execution, plan=plan), plain, survey, leaves)
            of_discrete = _differing(plain, whole)
        with watch_originals() as scoring:
            terms = whole.log_prob()
        check_caches(whole, terms)
        return FirstRun(plain, whole, leaves, reaches, plan, of_discrete, originals.exit or scoring.exit, terms)

    try:
        return next(runs(attempt, _ATTEMPTS))
    except DensityError as error:
        said = describe_nan(execution.model, execution.args, execution.kwargs)
        if not said:
            raise
        raise DensityError(f"{error} {said}") from error.__cause__


def _enumerate(execution: Execution, plain: Trace, survey: Survey, leaves: Mapping[str, Tensor]) -> tuple[Plan, Trace]:
    """A run in which each has all its values, proved against runs in which it has one."""

    def choose(site: Sample, free_shape: torch.Size, onto: Any) -> Tensor:
        if leaves[site.name].shape != free_shape:
            raise DensityError(f"latent site {site} has a different shape for each value of the discrete sites. {ADVICE}")
        return leaves[site.name]

    at = Placed(choose=choose)
    try:
        with TableLimit(survey.plan_sizes()), with_all_values(survey.plan_names()):
            found = execution.run(at)
    except DensityError as error:
        if isinstance(error.__cause__, ObservationError) and any(is_held(plain[name]) for name in leaves):
            raise error.__cause__ from None  # impossible at this value of a discrete coordinate: there are others
        raise
    summed = at.summed
    assert execution.plan is not None
    assert summed is not None  # it was entered
    plan = replace(execution.plan, patterns=summed.patterns)
    _prove(replace(execution, plan=plan), plain, survey, found, summed, leaves)
    summed.log_sum()  # says now what cannot be summed
    return plan, found


def _prove(
    execution: Execution, plain: Trace, survey: Survey, found: Trace, summed: Enumerated, leaves: Mapping[str, Tensor]
) -> None:
    """Compare the terms with all values of discrete sites at once with those at single ones, also away from the start."""
    check_terms(plain, survey.chosen, found, summed)
    rng = np.random.default_rng(1)
    away = {name: torch.as_tensor(rng.normal(0.0, 0.3, tuple(leaf.shape)), dtype=leaf.dtype) for name, leaf in leaves.items()}
    choose: Choose = lambda site, free_shape, onto: leaves[site.name].detach() + away[site.name]
    at = Placed(choose=choose)
    try:
        there = execution.run(at)
    except (ArgumentError, ObservationError, torch.linalg.LinAlgError):  # there it need not run
        choose, there = (lambda site, free_shape, onto: leaves[site.name]), found
    else:
        assert at.summed is not None  # it was entered
        summed = at.summed
    for seed in range(1, PROOFS):
        with suppress(ArgumentError, ObservationError, torch.linalg.LinAlgError):
            plain, survey = execution.survey(choose, seed)
            check_terms(plain, survey.chosen, there, summed)


def _differing(plain: Trace, whole: Trace) -> frozenset[str]:
    """The deterministic sites whose value has a different shape with all values of the discrete sites."""
    return frozenset(
        name
        for name, site in plain.items()
        if isinstance(site, Deterministic) and torch.as_tensor(site.value).shape != torch.as_tensor(whole[name].value).shape
    )
