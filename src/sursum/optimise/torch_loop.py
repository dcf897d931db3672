r"""Maximise with any `torch.optim` optimiser, running the program in each step, with minibatches from subsampled plates.

Parameters are kept in a `ParamStore`, latent sites as separate leaves, both in unconstrained coordinates. In a subsampled
plate a site's leaf holds the coordinates of all elements, and each step updates those that are present: with the plate's
scale the gradient of a step is an unbiased estimate of that of the full log density.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.progress import Display, NoProgress, ProgressState
from sursum.core.calling import run_program, valued
from sursum.core.messages import Factor, Sample
from sursum.core.plates import plate_scale, present, whole_shape
from sursum.core.runtime import handler
from sursum.core.scope import own_steps
from sursum.core.trace import Trace
from sursum.core.validation import enable_validation
from sursum.density.bypassed_module import watch_originals
from sursum.density.dtype_errors import explain_torch_errors
from sursum.density.layout import site_dtype
from sursum.density.survey import Survey, check_terms, same_draws, with_all_values
from sursum.density.unconstrain import Unconstrained, continuous_support
from sursum.density.unobserved import announce_unobserved, find_unobserved
from sursum.distributions.bijections import bijection
from sursum.errors import DensityError, OptimisationError
from sursum.handlers import ParamStore, seed, trace
from sursum.handlers.buffers import Buffers
from sursum.handlers.enumerate.enumerated import Enumerated, Plan
from sursum.optim import Optim, advance_schedule
from sursum.optimise.fit_result import started, with_buffers
from sursum.training import TrainingStep, seeds
from sursum.training.loader import Batches, count_rows, is_loader
from sursum.training.rows import Rows, check_global, find_rows

SILENT = NoProgress()


@handler
class Ascent(Unconstrained):
    """Gives every latent site the value of a leaf, which outlives the execution and holds all elements of plates."""

    values: Mapping[str, Tensor] = field(default_factory=dict)
    leaves: dict[str, Tensor] = field(default_factory=dict)
    ontos: dict[str, dict[tuple[int, ...], Any]] = field(default_factory=dict)  # by site and steps of scans

    def free(self, site: Sample, shape: torch.Size, onto: Any) -> Tensor:
        if site.name not in self.leaves:
            self.leaves[site.name] = self._leaf(site, shape, onto)
        return self.leaves[site.name]

    def settle(self, site: Sample, answer: Tensor) -> Sample:
        batch = len(site.fn.batch_shape)
        at = tuple(step.index for step in own_steps(site))
        self.ontos.setdefault(site.name, {})[at] = bijection(continuous_support(site))
        return super().settle(site, present(answer, site.plates, batch))

    def log_jacobian(self) -> Tensor:
        """The log-Jacobian of one execution, with the present elements representing all."""
        return sum((plate_scale(site.plates) * term.sum() for site, term in self.jacobians.values()), torch.zeros(()))

    def value(self, name: str) -> Tensor:
        """The constrained value of a latent site, including all elements of subsampled plates."""
        leaf, ontos = self.leaves[name].detach(), self.ontos[name]
        values = torch.stack([onto(leaf[at]) for at, onto in ontos.items()])
        return values.reshape(leaf.shape[: len(next(iter(ontos)))] + values.shape[1:])

    def _leaf(self, site: Sample, shape: torch.Size, onto: Any) -> Tensor:
        """Where a site starts: at its given or initial value, otherwise at 0."""
        steps, batch = [step.size for step in own_steps(site)], len(site.fn.batch_shape)
        one = whole_shape(site.fn.batch_shape + site.fn.event_shape, site.plates, batch)
        leaf = torch.zeros(whole_shape(shape, site.plates, len(steps) + batch), dtype=site_dtype(site))
        # In a subsampled plate the site has only the present elements; the original parameter has all.
        carried = (self.values.get(site.name), site.init, None if site.param is None else site.param.init)
        start = next((value for value in carried if value is not None and value.shape in (one, (*steps, *one))), None)
        if start is not None:
            free = onto.inv(start.detach())
            leaf = free.to(leaf.dtype).expand(leaf.shape) if bool(torch.isfinite(free).all()) else leaf
        return leaf.clone().requires_grad_()


@dataclass(frozen=True, eq=False)
class Ascended:
    """Where an optimiser ended: the parameters, the latent sites, the log density (or its estimate) at every step."""

    store: ParamStore
    ascent: Ascent
    log_density: NDArray[np.float64]
    subsampled: bool
    met: tuple[str, ...]
    last: Callable[[], tuple[Tensor, Trace, Any]]
    buffers: Mapping[str, Tensor]

    def values(self) -> dict[str, Tensor]:
        """Parameters and latent sites by name, constrained."""
        held = {name: self.store[name].detach() for name in self.store}
        return held | {name: self.ascent.value(name) for name in self.ascent.leaves}

    def scored(self) -> tuple[dict[str, Tensor], float]:
        """Parameters, latent and deterministic sites by name, and the log density, from one final run of the program."""
        with valued():
            total, found, _ = self.last()
        fixed = {name: torch.as_tensor(site.value).detach().clone() for name, site in found.deterministic.items()}
        return self.values() | fixed, float(total.detach())

    def trend(self) -> tuple[float, float]:
        """The increase of the log density between the last two tenths of the steps, and its standard error."""
        tenth = max(len(self.log_density) // 10, 1)
        last, before = self.log_density[-tenth:], self.log_density[-2 * tenth : -tenth]
        if len(before) < 2:
            return np.inf, 0.0
        error = np.hypot(last.std(ddof=1), before.std(ddof=1)) / np.sqrt(tenth)
        return float(last.mean() - before.mean()), float(error)


def ascend(
    model: Callable[..., Any],
    args: Any,
    kwargs: Any,
    *,
    values: Mapping[str, Tensor],
    jacobian: bool,
    optim: Optim,
    num_steps: int,
    rng_seed: int,
    held: Mapping[str, Tensor] | None = None,
    display: Display = SILENT,
) -> Ascended:
    """Take `num_steps` steps of an optimiser up the log density of a program; `held` are buffers of networks at the start.

    Raises:
        DensityError: the program has nothing to fit, or a latent site that has no gradient.
        OptimisationError: an optimiser that cannot be constructed; a log density that is NaN.
    """
    store, ascent = ParamStore(), Ascent(values=values)
    program = with_buffers(started(model, values=values), held or {})
    batches = Batches(args[0], rng_seed) if args and is_loader(args[0]) else None
    more = args[1:] if batches is not None else ()
    given: tuple[Any, ...] = args if batches is None else (*batches.peek(), *more)
    rows = Rows(frozenset(), 0)

    buffers: dict[str, Tensor] = {}  # what layers in training mode write
    plan: Plan | None = None

    def run(
        args: Any = None,
        params: ParamStore = store,
        latents: Ascent = ascent,
        kept: Mapping[str, Tensor] | None = None,
        live: bool = True,
        summing: Survey | Enumerated | None = None,
    ) -> tuple[Tensor, Trace, Survey | Enumerated | None]:
        called = given if args is None else args
        summing = Enumerated(plan=plan) if summing is None and plan is not None else summing
        with (
            rows.here(called),
            Buffers(held=buffers if kept is None else dict(kept), live=live),
            params,
            trace() as recorder,
            summing or nullcontext() as summed,
            latents as running,
            explain_torch_errors(lambda: recorder.trace, program, called, kwargs),
        ):
            run_program(program, called, kwargs)
        if isinstance(summed, Survey):
            return torch.zeros(()), recorder.trace, summed
        total = recorder.trace.log_prob_sum(lambda site: summed is None or site.name not in summed.summed)
        total = total if summed is None else total + summed.log_sum()
        return total + running.log_jacobian() if jacobian else total, recorder.trace, summed

    def find_plan() -> Plan | None:
        """The discrete sites that can be summed out, at one value of each; and a check that all values may be had at once."""
        nonlocal plan
        # At that value the data may be impossible. The same rows of subsampled plates are present in both.
        with enable_validation(False), same_draws(rng_seed):
            _, plain, surveyed = run(live=False, summing=Survey())
        assert isinstance(surveyed, Survey)  # it was entered
        plan = surveyed.plan()
        if plan is not None:
            with same_draws(rng_seed), with_all_values(surveyed.plan_names()):
                _, found, summed = run(live=False)
            assert isinstance(summed, Enumerated)
            check_terms(plain, surveyed.chosen, found, summed)
        return plan

    climbed: list[float] = []

    def eagerly() -> dict[str, Tensor | None]:
        total, found, _ = run()
        if not bool(torch.isfinite(total)):
            raise OptimisationError(_not_finite(found, len(climbed)))
        climbed.append(float(total.detach()))
        return dict(zip(leaves, torch.autograd.grad(-total, list(leaves.values()), allow_unused=True), strict=True))

    def captured(step: TrainingStep, taken: int) -> dict[str, Tensor | None]:
        trained = {name: leaf.detach() for name, leaf in leaves.items()}
        number = seeds.derive(rng_seed, seeds.STEP, taken)
        batch = step.prepare(trained, given, kwargs, seed=number, state=buffers)
        if batch is None:
            return eagerly()
        try:
            found = step.on(batch, trained, seed=number, state=buffers)
        except DensityError:
            with step.seeded(number, trained):
                eagerly()  # says what is wrong, in the program's words
            raise
        if not bool(torch.isfinite(found.loss)):
            with step.seeded(number, trained):
                return eagerly()
        climbed.append(-float(found.loss))
        return dict(found.gradients)

    def loss(
        trained: Mapping[str, Tensor], state: Mapping[str, Tensor], args: tuple[Any, ...], named: dict[str, Any]
    ) -> Tensor:
        params = ParamStore()
        held = {name: trained.get(name, leaf) for name, leaf in store.unconstrained.items()}
        params.sites, params.unconstrained = store.sites, held
        latents = Ascent(values=values, leaves={name: trained[name] for name in ascent.leaves}, ontos={})
        return -run(args, params, latents, state)[0]

    with seed(rng_seed=rng_seed), torch.inference_mode(False), torch.enable_grad():
        with watch_originals() as originals:
            plan = find_plan()
            _, first, _ = run(live=False)
        originals.check(first, trained=True)
        announce_unobserved(find_unobserved(first))
        leaves = {name: leaf for name, leaf in store.unconstrained.items() if leaf.requires_grad} | ascent.leaves
        if not leaves:
            raise DensityError(
                "the program has no latent site and no parameter, so there is nothing to fit. "
                "Write a param or a sample site without obs; call a network through su.module(name, net), which reads its "
                "parameters (those with requires_grad=False stay as they are)."
            )
        if batches is not None:
            rows = find_rows(lambda batch: list(run(batch)[1].values()), given, count_rows(args[0]))
            check_global(first.values(), rows, "an optimiser")
        optimiser = optim.build(leaves)
        schedule = None if optim.scheduler is None else optim.scheduler(optimiser)
        step = TrainingStep(loss, title="the program")
        for taken in range(num_steps):
            if batches is not None:
                given = (*batches.take(), *more)

            def closure(taken: int = taken) -> float:
                optimiser.zero_grad()
                slopes = captured(step, taken)
                for name, leaf in leaves.items():
                    leaf.grad = slopes[name]
                optim.clip(leaves.values())
                return -climbed[-1]

            optimiser.step(closure)
            advance_schedule(schedule, -climbed[-1])
            words = f"{taken + 1}/{num_steps} steps", f"log density {climbed[-1]:.6g}"
            display.update(partial(ProgressState, taken + 1, num_steps, words))
    display.close()
    store.buffers.update(buffers)
    subsampled = batches is not None or any(frame.length != frame.size for site in first.values() for frame in site.plates)
    return Ascended(store, ascent, np.array(climbed), subsampled, tuple(first), partial(run, live=False), buffers)


def _not_finite(found: Trace, step: int) -> str:
    scored = [site for site in found.values() if isinstance(site, (Sample, Factor))]
    names = [str(site) for site in scored if not bool(torch.isfinite(site.log_prob()).all())]
    return (
        f"the log density is not finite at step {step}, by {', '.join(names) or 'the sum of all sites'}. A finite value is "
        "needed in every step: lower the learning rate, or start where the data are possible."
    )
