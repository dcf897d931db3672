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
from sursum.errors import CaptureError, DensityError, OptimisationError
from sursum.handlers import ParamStore, seed, trace
from sursum.handlers.buffers import Buffers
from sursum.handlers.enumerate.enumerated import Enumerated, Plan
from sursum.optim import Optim, advance_schedule
from sursum.optimise.compiled_ascent import CompiledAscent
from sursum.optimise.fit_result import started, with_buffers
from sursum.training import TrainingStep, seeds
from sursum.training.batch import Batch
from sursum.training.loader import Batches, count_rows, is_loader
from sursum.training.rows import Rows, check_global, find_rows
from sursum.training.work import Work, in_c

SILENT = NoProgress()
_TOGETHER = 1000


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

    def value(self, name: str, free: Tensor | None = None) -> Tensor:
        """The constrained value of a latent site at its leaf, or at `free`, including all elements of subsampled plates."""
        leaf, ontos = (self.leaves[name] if free is None else free).detach(), self.ontos[name]
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
    engine: str

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
    engine: str | None = None,
    display: Display = SILENT,
) -> Ascended:
    """Take `num_steps` steps of an optimiser up the log density of a program; `held` are buffers of networks at the start.

    Raises:
        CaptureError, CompileError: the engine was requested but is not available.
        DensityError: the program has nothing to fit, or a latent site that has no gradient.
        OptimisationError: an optimiser that cannot be constructed; a log density that is NaN.
    """

    def tell(taken: int) -> None:
        words = f"{taken}/{num_steps} steps", f"log density {climb.log_densities[-1]:.6g}"
        display.update(partial(ProgressState, taken, num_steps, words))

    with seed(rng_seed=rng_seed), torch.inference_mode(False), torch.enable_grad():
        climb = Climb(model, args, kwargs, values=values, jacobian=jacobian, rng_seed=rng_seed, held=held or {})
        compiled = climb.compiled(optim, num_steps, engine)
        if compiled is not None:
            climb.in_c(compiled, num_steps, tell)
            used = "native"
        else:
            used = climb.by_torch(optim, num_steps, engine, tell)
    display.close()
    climb.store.buffers.update(climb.buffers)
    frames = [frame for site in climb.first.values() for frame in site.plates]
    subsampled = climb.batches is not None or any(frame.length != frame.size for frame in frames)
    log_densities, last = np.array(climb.log_densities), partial(climb.run, live=False)
    return Ascended(climb.store, climb.ascent, log_densities, subsampled, tuple(climb.first), last, climb.buffers, used)


class Climb:
    """A program whose parameters and latent sites are moved: its log density, and the steps.

    Args:
        args: of the program; a data loader as the first of them gives batches.

    Raises:
        DensityError: the program has nothing to fit.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        args: Any,
        kwargs: Any,
        *,
        values: Mapping[str, Tensor],
        jacobian: bool,
        rng_seed: int,
        held: Mapping[str, Tensor],
    ) -> None:
        self.kwargs, self.rng_seed, self._values, self._jacobian = kwargs, rng_seed, values, jacobian
        self.store, self.ascent = ParamStore(), Ascent(values=values)
        self._program = with_buffers(started(model, values=values), held)
        self.batches = Batches(args[0], rng_seed) if args and is_loader(args[0]) else None
        self._more = args[1:] if self.batches is not None else ()
        self.given: tuple[Any, ...] = args if self.batches is None else (*self.batches.peek(), *self._more)
        self._rows = Rows(frozenset(), 0)
        self.buffers: dict[str, Tensor] = {}  # what layers in training mode write
        self.log_densities: list[float] = []
        self._plan: Plan | None = None
        with watch_originals() as originals:
            self._find_plan()
            with Work() as self._work:
                _, self.first, _ = self.run(live=False)
        originals.check(self.first, trained=True)
        announce_unobserved(find_unobserved(self.first))
        self.leaves = {n: leaf for n, leaf in self.store.unconstrained.items() if leaf.requires_grad} | self.ascent.leaves
        if not self.leaves:
            raise DensityError(
                "the program has no latent site and no parameter, so there is nothing to fit. "
                "Write a param or a sample site without obs; call a network through su.module(name, net), which reads its "
                "parameters (those with requires_grad=False stay as they are)."
            )
        if self.batches is not None:
            self._rows = find_rows(lambda batch: list(self.run(batch)[1].values()), self.given, count_rows(args[0]))
            check_global(self.first.values(), self._rows, "an optimiser")

    def run(
        self,
        args: Any = None,
        params: ParamStore | None = None,
        latents: Ascent | None = None,
        kept: Mapping[str, Tensor] | None = None,
        live: bool = True,
        summing: Survey | Enumerated | None = None,
    ) -> tuple[Tensor, Trace, Survey | Enumerated | None]:
        """The log density, the trace, and the handler that summed over discrete sites."""
        called = self.given if args is None else args
        summing = Enumerated(plan=self._plan) if summing is None and self._plan is not None else summing
        with (
            self._rows.here(called),
            Buffers(held=self.buffers if kept is None else dict(kept), live=live),
            self.store if params is None else params,
            trace() as recorder,
            summing or nullcontext() as summed,
            self.ascent if latents is None else latents as running,
            explain_torch_errors(lambda: recorder.trace, self._program, called, self.kwargs),
        ):
            run_program(self._program, called, self.kwargs)
        if isinstance(summed, Survey):
            return torch.zeros(()), recorder.trace, summed
        total = recorder.trace.log_prob_sum(lambda site: summed is None or site.name not in summed.summed)
        total = total if summed is None else total + summed.log_sum()
        return total + running.log_jacobian() if self._jacobian else total, recorder.trace, summed

    def compiled(self, optim: Optim, num_steps: int, engine: str | None) -> CompiledAscent | None:
        """The steps in C, where they are asked for, or by a fixed rule.

        Raises:
            CaptureError, CompileError: they are asked for, and cannot be had.
        """
        # Fetching a batch of a loader takes longer than a step, and its last one is another function.
        by_rule = engine is None and self.batches is None
        if not (engine == "native" or (by_rule and in_c(self._work, self.leaves, num_steps))):
            return None
        try:
            if self.buffers:
                raise CaptureError(
                    "engine='native' cannot run this: layers in training mode update their buffers. Leave `engine` out, or "
                    "call .eval() on the network."
                )
            found = CompiledAscent(self.loss, self.leaves, optim, self.rng_seed, (self.given, self.kwargs), self._explain)
            first = None if self.batches is None else Batch.of(self.given, self.kwargs)
            return found if found.prepare(first, engine) is not None else None
        except CaptureError:
            if engine is not None:
                raise
            return None

    def in_c(self, compiled: CompiledAscent, num_steps: int, tell: Callable[[int], None]) -> None:
        """Take all steps by the loop in C."""
        losses = compiled.training.losses
        while len(losses) < num_steps:
            if self.batches is None:
                compiled.advance(min(_TOGETHER, num_steps - len(losses)))
            else:
                compiled.advance(1, Batch.of((*self.batches.take(), *self._more), self.kwargs))
            self.log_densities += [-loss for loss in losses[len(self.log_densities) :]]
            tell(len(losses))
        compiled.give()

    def by_torch(self, optim: Optim, num_steps: int, engine: str | None, tell: Callable[[int], None]) -> str:
        """Take all steps by a torch optimiser, and return the name of the engine."""
        leaves = self.leaves
        optimiser = optim.build(leaves)
        schedule = None if optim.scheduler is None else optim.scheduler(optimiser)
        step = TrainingStep(self.loss, engine=engine, title="the program")
        for taken in range(num_steps):
            if self.batches is not None:
                self.given = (*self.batches.take(), *self._more)

            def closure(taken: int = taken) -> float:
                optimiser.zero_grad()
                slopes = self._graded(step, taken)
                for name, leaf in leaves.items():
                    leaf.grad = slopes[name]
                optim.clip(leaves.values())
                return -self.log_densities[-1]

            optimiser.step(closure)
            advance_schedule(schedule, -self.log_densities[-1])
            tell(taken + 1)
        return step.engine

    def loss(
        self, trained: Mapping[str, Tensor], state: Mapping[str, Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        """The negative log density as a function of the leaves."""
        params = ParamStore()
        params.sites = self.store.sites
        params.unconstrained = {name: trained.get(name, leaf) for name, leaf in self.store.unconstrained.items()}
        latents = Ascent(values=self._values, leaves={name: trained[name] for name in self.ascent.leaves}, ontos={})
        return -self.run(args, params, latents, state)[0]

    def _find_plan(self) -> None:
        """The discrete sites that can be summed out, at one value of each; and a check that all values may be had at once."""
        # At that value the data may be impossible. The same rows of subsampled plates are present in both.
        with enable_validation(False), same_draws(self.rng_seed):
            _, plain, surveyed = self.run(live=False, summing=Survey())
        assert isinstance(surveyed, Survey)  # it was entered
        self._plan = surveyed.plan()
        if self._plan is not None:
            with same_draws(self.rng_seed), with_all_values(surveyed.plan_names()):
                _, found, summed = self.run(live=False)
            assert isinstance(summed, Enumerated)
            check_terms(plain, surveyed.chosen, found, summed)

    def _eagerly(self) -> dict[str, Tensor | None]:
        """The gradient of the negative log density, by the program itself."""
        total, found, _ = self.run()
        if not bool(torch.isfinite(total)):
            raise OptimisationError(_not_finite(found, len(self.log_densities)))
        self.log_densities.append(float(total.detach()))
        return dict(zip(self.leaves, torch.autograd.grad(-total, list(self.leaves.values()), allow_unused=True), strict=True))

    def _explain(self, batch: Batch | None, taken: int) -> None:
        """Raise the error of the program itself, if it has one, after this number of steps."""
        self.log_densities = [0.0] * taken
        if batch is not None:
            self.given, _ = batch.arguments(batch.tensors)
        self._eagerly()

    def _graded(self, step: TrainingStep, taken: int) -> dict[str, Tensor | None]:
        trained = {name: leaf.detach() for name, leaf in self.leaves.items()}
        number = seeds.derive(self.rng_seed, seeds.STEP, taken)
        batch = step.prepare(trained, self.given, self.kwargs, seed=number, state=self.buffers)
        if batch is None:
            return self._eagerly()
        try:
            found = step.on(batch, trained, seed=number, state=self.buffers)
        except DensityError:
            with step.seeded(number, trained):
                self._eagerly()  # says what is wrong, in the program's words
            raise
        if not bool(torch.isfinite(found.loss)):
            with step.seeded(number, trained):
                return self._eagerly()
        self.log_densities.append(-float(found.loss))
        return dict(found.gradients)


def _not_finite(found: Trace, step: int) -> str:
    scored = [site for site in found.values() if isinstance(site, (Sample, Factor))]
    names = [str(site) for site in scored if not bool(torch.isfinite(site.log_prob()).all())]
    return (
        f"the log density is not finite at step {step}, by {', '.join(names) or 'the sum of all sites'}. A finite value is "
        "needed in every step: lower the learning rate, or start where the data are possible."
    )
