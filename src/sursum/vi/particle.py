"""One particle: run the guide, then the model with the guide's draws, and compare the two traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sursum.core.calling import run_program
from sursum.core.messages import Sample, Step
from sursum.core.runtime import handler, required
from sursum.core.scope import at_site
from sursum.core.trace import Trace
from sursum.core.validation import check_shape, check_value
from sursum.density.answering import Answering
from sursum.density.dtype_errors import explain_torch_errors
from sursum.density.survey import PROOFS, Survey, check_terms, same_draws, with_all_values
from sursum.distributions.delta import Delta
from sursum.distributions.fluent import unwrap
from sursum.errors import ArgumentError, GuideError, ObservationError, VariationalError
from sursum.handlers import trace
from sursum.handlers.enumerate.enumerated import SUMMED, Choice, Enumerated, Plan, listed
from sursum.vi.pushforward import PlacedDelta, Pushforward
from sursum.vi.summed import averaged_terms, refuse_states

AUXILIARY = "is_auxiliary"
IN_SUPPORT = "in_support"
"""Marks a guide's site whose draws lie in the support of the model's site, whatever the parameters."""
Program = Callable[..., Any]


@dataclass(frozen=True)
class Pair:
    """The traces of a model and of its guide at one draw of the guide, and their log densities by site."""

    model: Trace
    guide: Trace
    log_p: Mapping[str, Tensor]
    log_q: Mapping[str, Tensor]
    plain: Trace | None = None  # the model with one value of each discrete site that is summed out

    def check_finite(self, loss: Tensor) -> None:
        """Raise if the loss is not finite, naming the site that causes it.

        Raises:
            VariationalError: a log density is not finite.
        """
        if bool(torch.isfinite(loss).all()):
            return
        for of, terms, nodes in (("guide", self.log_q, self.guide), ("model", self.log_p, self.model)):
            for name, term in terms.items():
                if not bool(torch.isfinite(term).all()):
                    value = nodes[name].value
                    raise VariationalError(
                        f"the loss is {float(loss.detach()):.4g}: the log density of site {nodes[name]} in the {of} is "
                        f"{_extreme(term)}, at the value {_extreme(value)}. The parameters are those before this step. "
                        "Lower the learning rate, clip gradients, start the guide elsewhere (init_loc_fn, init_scale), or "
                        "look for overflow at this site."
                    )
        raise VariationalError(
            f"the loss is {float(loss.detach()):.4g}, although every site's log density is finite: their sum overflows. "
            "Scale the data, or compute in float64."
        )


def pair(model: Program, guide: Program, args: Sequence[Any], kwargs: Mapping[str, Any], *, averages: bool = False) -> Pair:
    """Draw from the guide and score the draw in both; discrete sites of the model that the guide does not draw are summed out.

    Args:
        averages: whether discrete sites of the guide that ask for it have all their values, and are averaged over.

    Raises:
        GuideError: the guide's latent sites are not the model's.
        DensityError: a discrete site cannot be summed out.
    """
    found = run_pair(model, guide, args, kwargs, averages=averages)
    if found.in_model is None:
        return score_pair(found.plain, found.drawn)
    check_match(found.model, found.guide)
    terms = averaged_terms(found.model, found.in_model, found.guide, found.in_guide)
    return Pair(found.model, found.guide, *terms, found.plain)


@dataclass(frozen=True)
class Runs:
    """The runs that a pair is made of: both programs with one value of each discrete site, and with all of them.

    `chosen` are the numbers of the single ones, and `in_guide` and `in_model` the handlers that summed; None where there is
    nothing to sum.
    """

    drawn: Trace
    plain: Trace
    guide: Trace
    model: Trace
    chosen: Mapping[str, Tensor]
    in_guide: Enumerated | None = None
    in_model: Enumerated | None = None


def run_pair(
    model: Program, guide: Program, args: Sequence[Any], kwargs: Mapping[str, Any], *,
    averages: bool, number: int = 0, rng_seed: int | None = None,
) -> Runs:  # fmt: skip
    """Run a guide and a model as `pair` does.

    Args:
        number: which single values discrete sites have.
        rng_seed: of every run; None draws on.
    """

    def run(program: Program, *handlers: AbstractContextManager[Any]) -> Trace:
        with trace() as recorder, ExitStack() as stack:
            for one in handlers if rng_seed is None else (same_draws(rng_seed), *handlers):
                stack.enter_context(one)
            with explain_torch_errors(lambda: recorder.trace, program, args, kwargs):
                run_program(program, args, kwargs)
        return recorder.trace

    chosen = Survey(seed=number, choice=Choice(requested=True)) if averages else None
    drawn = run(guide) if chosen is None else run(guide, entered := _Entered(chosen))
    plans = None if chosen is None else entered.running.plan()
    choice = Choice(without=frozenset(drawn.stochastic))
    surveying = _Entered(Survey(seed=number, choice=choice))
    plain = run(model, surveying, _FromGuide(guide=drawn))
    plan = surveying.running.plan()
    if plan is None and plans is None:
        return Runs(drawn, plain, drawn, plain, {})
    nesting = max(one.nesting for one in (plan, plans) if one is not None)
    in_guide, whole_guide, numbers = None, drawn, dict(surveying.running.chosen)
    names = listed(name for one in (plans, plan) if one is not None for name in one.sites)
    with with_all_values(names):
        if plans is not None:
            in_guide = _Entered(Enumerated(plan=replace(plans, nesting=nesting), choice=Choice(requested=True)))
            whole_guide = run(guide, in_guide, _FromGuide(guide=_rows(drawn)))
            refuse_states(in_guide.running)
            numbers |= entered.running.chosen
        given = () if in_guide is None else tuple(in_guide.running.variables)
        whole = Plan(nesting, {}, {}) if plan is None else replace(plan, nesting=nesting)
        in_model = _Entered(Enumerated(plan=whole, choice=choice, given=given))
        found = run(model, in_model, _FromGuide(guide=Trace({**_rows(plain).nodes, **whole_guide.nodes})))
    return Runs(drawn, plain, whole_guide, found, numbers, None if in_guide is None else in_guide.running, in_model.running)


def prove_sums(
    model: Program, guide: Program, args: Sequence[Any], kwargs: Mapping[str, Any], *, averages: bool = False
) -> None:
    """Compare the terms with all values of discrete sites at once with those at single ones.

    A guide that draws a continuous site for each value of a discrete one cannot be compared so.

    Raises:
        DensityError: they differ; a program is not written for all values at once.
    """
    for number in range(PROOFS):
        with suppress(ArgumentError, ObservationError):  # impossible at these values
            found = run_pair(model, guide, args, kwargs, averages=averages, number=number, rng_seed=0)
            if found.in_model is None:
                return
            if found.in_guide is not None:
                if not _draw_alike(found.drawn, found.guide):
                    return
                check_terms(found.drawn, found.chosen, found.guide, found.in_guide)
            check_terms(found.plain, found.chosen, found.model, found.in_model)


def _draw_alike(drawn: Trace, whole: Trace) -> bool:
    """Whether the sites that are not enumerated have the same values in both runs of a guide."""
    others = whole.stochastic
    return all(
        name in others and (others[name].infer.get(SUMMED) or torch.equal(site.value, others[name].value))
        for name, site in drawn.stochastic.items()
    )


def _rows(found: Trace) -> Trace:
    """The rows that subsampled plates have drawn: a second run has the same ones."""
    return Trace({name: site for name, site in found.stochastic.items() if site.infer.get("is_subsample")})


class _Entered(AbstractContextManager[Any]):
    """A handler that is entered later, and then known by its running copy."""

    def __init__(self, handler: Any) -> None:
        self._handler, self.running = handler, handler

    def __enter__(self) -> Any:
        self.running = self._handler.__enter__()
        return self.running

    def __exit__(self, *error: Any) -> None:
        self._handler.__exit__(*error)


def score_pair(model: Trace, guide: Trace) -> Pair:
    """The log densities of two matching traces. A factor in a guide is a term of its log density."""
    check_match(model, guide)
    return Pair(model, guide, model.log_prob(), guide.log_prob())


@handler
class _FromGuide(Answering):
    """Gives the model's latent sites the values that the guide drew; other sites are drawn here."""

    guide: Trace = required()

    def knows(self, site: Sample) -> bool:
        return isinstance(self.guide.get(site.name), Sample)

    def latent(self, site: Sample, steps: tuple[Step, ...]) -> Any:
        return self.guide[site.name].value if self.knows(site) else None

    def settle(self, site: Sample, answer: Any) -> Sample:
        if answer is None:
            return site
        site = site.but(value=answer)
        # Values from our own guides lie in the support.
        drawn = self.guide[site.name]
        if isinstance(drawn["fn"], (PlacedDelta, Pushforward)) or drawn["infer"].get(IN_SUPPORT):
            check_shape_with_particles(site)
        else:
            with at_site(site):
                check_value(site)
        return site

    def subsample(self, site: Sample) -> Any:
        return self.outside(self.answered(site) if site.value is None else site)


def check_shape_with_particles(site: Sample) -> None:
    """Check that the value's shape is the distribution's, apart from particle dimensions to the left."""
    shape = site.fn.batch_shape + site.fn.event_shape
    if site.value.shape[site.value.dim() - len(shape) :] != shape:
        check_shape(site)


def check_match(model: Trace, guide: Trace) -> None:
    """Check that model and guide have the same latent sites.

    Raises:
        GuideError: names the sites that only one of them has.
    """
    ours = {name for name, site in model.stochastic.items() if name in guide or not is_settled(site)}
    theirs = {name for name, site in guide.stochastic.items() if not site.infer.get(AUXILIARY)}
    plates = {frame.name for site in model.values() for frame in site.plates}
    lonely = sorted(ours - theirs), sorted(theirs - ours - plates)
    if lonely[0] or lonely[1]:
        observed = [name for name in lonely[1] if name in model.observed]
        hint = f" (observed in the model: {', '.join(map(repr, observed))})" if observed else ""
        raise GuideError(
            "the guide's latent sites are not the model's. "
            f"Only in the model: {_list(lonely[0])}; only in the guide: {_list(lonely[1])}{hint}. "
            "Draw every latent site of the model in the guide under its name, and mark what only the guide needs with "
            "infer={'is_auxiliary': True}."
        )


def needs_score(site: Sample) -> bool:
    """Whether a guide's site has a gradient only through its score function: its draws cannot be differentiated."""
    return not site.fn.has_rsample and not site.infer.get("is_subsample") and not site.infer.get(SUMMED)


def must_be_eager(first: Pair) -> str | None:
    """Why programs with these traces cannot be captured with their noise as an input; None if no reason is known."""
    for name, site in first.guide.stochastic.items():
        if needs_score(site):
            return f"draws of site {name!r} cannot be differentiated"
    for other in (*first.guide.values(), *first.model.values()):
        if any(frame.length != frame.size for frame in other.plates) or other.get("infer", {}).get("is_subsample"):
            return f"site {other.name!r} is in a subsampled plate"
    return None


def is_settled(site: Sample) -> bool:
    """Whether a latent site needs no guide: the indices of a plate, all mass at one point, or summed out."""
    return bool(site.infer.get("is_subsample") or site.infer.get(SUMMED)) or isinstance(unwrap(site.fn), Delta)


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _extreme(value: Any) -> str:
    """The first element that is not finite, otherwise the one with the largest magnitude."""
    flat = torch.as_tensor(value).detach().double().flatten()
    bad = flat[~flat.isfinite()]
    if bad.numel():
        return f"{float(bad[0])}"
    return f"{float(flat[flat.abs().argmax()]):.4g}" if flat.numel() else "empty"
