r"""Steps uphill by any `torch.optim` optimiser, the program run in each of them, with minibatches by subsampled plates.

Parameters live in a `ParamStore`, latent sites as leaves of their own, both in unconstrained coordinates. In a subsampled
plate a site's leaf holds the coordinates of all elements, and each step moves those that are present: with the plate's
scale the gradient of a step is an unbiased estimate of that of the whole log density.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from sursum.core.calling import run_program, valued
from sursum.core.messages import Factor, Frame, Sample, Site
from sursum.core.plates import plate_scale
from sursum.core.runtime import Messenger, handler, perform
from sursum.core.scope import own_steps
from sursum.core.trace import Trace
from sursum.density.bypassed_module import watch_originals
from sursum.density.dtype_errors import explained
from sursum.density.unobserved import announce_unobserved, unobserved
from sursum.distributions.bijections import bijection
from sursum.distributions.delta import Delta
from sursum.distributions.fluent import unwrapped
from sursum.distributions.rebuild import floating_dtype
from sursum.distributions.supports import support_of
from sursum.errors import DensityError, OptimisationError
from sursum.handlers import ParamStore, seed, trace
from sursum.optim import Optim, advance_schedule
from sursum.optimise.fit_result import started


@handler
class Ascent(Messenger):
    """Keeps an unconstrained leaf for every latent site, and gives the site the value that it stands for."""

    values: Mapping[str, Tensor] = field(default_factory=dict)

    leaves: dict[str, Tensor] = field(init=False, repr=False, default_factory=dict)
    ontos: dict[str, Any] = field(init=False, repr=False, default_factory=dict)
    jacobians: dict[str, Tensor] = field(init=False, repr=False, default_factory=dict)

    def fresh(self) -> Ascent:
        """A copy that shares the leaves, which outlive the executions."""
        copy = super().fresh()
        copy.leaves, copy.ontos, copy.jacobians = self.leaves, self.ontos, self.jacobians
        return copy

    def handle(self, site: Site) -> Any:
        if not isinstance(site, Sample) or site.is_observed or site.value is not None or site.infer.get("is_subsample"):
            return perform(site)
        if not isinstance(site.fn, Distribution):
            raise DensityError(f"latent site {site} cannot be scored: its prior is a function that returns a tensor.")
        if isinstance(unwrapped(site.fn), Delta):
            return perform(site.but(value=site.fn.rsample()))
        support = support_of(site.fn)
        if support.is_discrete:
            raise DensityError(
                f"latent site {site} is discrete ({type(site.fn).__name__}), and gradients need continuous sites. Sum it "
                "out, for example with MixtureSameFamily, or observe it with condition."
            )
        if own_steps(site):
            raise DensityError(
                f"latent site {site} is in a scan, which optimisation on subsamples does not know. Leave subsample_size and "
                "subsample out of the program's plates."
            )
        onto = bijection(support)
        if site.name not in self.leaves:
            self.leaves[site.name] = self._leaf(site, onto)
        free = self.leaves[site.name]
        for at, frame in _subsampled(site):
            free = free.index_select(at, torch.as_tensor(frame.indices))
        value = onto(free)
        self.ontos[site.name] = onto
        self.jacobians[site.name] = plate_scale(site.plates) * onto.log_abs_det_jacobian(free, value).sum()
        return perform(site.but(value=value))

    def value(self, name: str) -> Tensor:
        """The constrained value of a latent site, all elements of subsampled plates included."""
        value: Tensor = self.ontos[name](self.leaves[name].detach())
        return value

    def _leaf(self, site: Sample, onto: Any) -> Tensor:
        """Where a site starts: at the value given for it or carried by it, else at 0."""
        shape = list(site.fn.batch_shape + site.fn.event_shape)
        for at, frame in _subsampled(site):
            shape[at] = frame.size
        # In a subsampled plate the site carries what is present; the parameter that it was has all.
        carried = (self.values.get(site.name), site.init, None if site.param is None else site.param.init)
        start = next((value for value in carried if value is not None and list(value.shape) == shape), None)
        leaf = torch.zeros(onto.inverse_shape(torch.Size(shape)), dtype=floating_dtype(site.fn) or torch.get_default_dtype())
        if start is not None:
            free = onto.inv(start.detach())
            leaf = free.to(leaf.dtype) if bool(torch.isfinite(free).all()) else leaf
        return leaf.clone().requires_grad_()


def _subsampled(site: Sample) -> Iterator[tuple[int, Frame]]:
    """The plates of which only some elements are present, and their dimensions counted from the left."""
    for frame in site.plates:
        if frame.indices is not None and frame.dim is not None:
            yield len(site.fn.batch_shape) + frame.dim, frame


@dataclass(frozen=True, eq=False)
class Ascended:
    """Where an optimiser ended: the parameters, the latent sites, the log density (or its estimate) at every step."""

    store: ParamStore
    ascent: Ascent
    log_density: NDArray[np.float64]
    subsampled: bool
    met: tuple[str, ...]
    last: Callable[[], tuple[Tensor, Trace]]

    def values(self) -> dict[str, Tensor]:
        """Parameters and latent sites by name, constrained."""
        held = {name: self.store[name].detach() for name in self.store}
        return held | {name: self.ascent.value(name) for name in self.ascent.leaves}

    def scored(self) -> tuple[dict[str, Tensor], float]:
        """Parameters, latent and deterministic sites by name, and the log density, by one run of the program at the end."""
        with valued():
            total, found = self.last()
        fixed = {name: torch.as_tensor(site.value).detach().clone() for name, site in found.deterministic.items()}
        return self.values() | fixed, float(total.detach())

    def trend(self) -> tuple[float, float]:
        """By how much the log density rose between the last two tenths of the steps, and the standard error of that."""
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
) -> Ascended:
    """Take `num_steps` steps of an optimiser up the log density of a program.

    Raises:
        DensityError: the program has nothing to fit, or a latent site that has no gradient.
        OptimisationError: an optimiser that cannot be made; a log density that is not a number.
    """
    store, ascent = ParamStore(), Ascent(values=values)
    program = started(model, values=values)

    def run() -> tuple[Tensor, Trace]:
        with store, ascent, trace() as recorder, explained(lambda: recorder.trace, program, args, kwargs):
            run_program(program, args, kwargs)
        total = recorder.trace.log_prob_sum()
        return total + sum(ascent.jacobians.values()) if jacobian else total, recorder.trace

    climbed: list[float] = []

    def closure() -> float:
        optimiser.zero_grad()
        total, found = run()
        if not bool(torch.isfinite(total)):
            raise OptimisationError(_not_finite(found, len(climbed)))
        climbed.append(float(total.detach()))
        (-total).backward()
        optim.clip(leaves.values())
        return -climbed[-1]

    with seed(rng_seed=rng_seed), torch.inference_mode(False), torch.enable_grad():
        with watch_originals() as originals:
            _, first = run()
        originals.check(first, trained=True)
        announce_unobserved(unobserved(first))
        leaves = {name: leaf for name, leaf in store.unconstrained.items() if leaf.requires_grad} | ascent.leaves
        if not leaves:
            raise DensityError(
                "the program has no latent site and no parameter, so there is nothing to fit. "
                "Write a param or a sample site without obs; a network's parameters with requires_grad=False stay as they are."
            )
        optimiser = optim.build(leaves)
        schedule = None if optim.scheduler is None else optim.scheduler(optimiser)
        for _ in range(num_steps):
            optimiser.step(closure)
            advance_schedule(schedule, -climbed[-1])
    subsampled = any(frame.length != frame.size for site in first.values() for frame in site.plates)
    return Ascended(store, ascent, np.array(climbed), subsampled, tuple(first), run)


def _not_finite(found: Trace, step: int) -> str:
    scored = [site for site in found.values() if isinstance(site, (Sample, Factor))]
    names = [str(site) for site in scored if not bool(torch.isfinite(site.log_prob()).all())]
    return (
        f"the log density is not finite at step {step}, by {', '.join(names) or 'the sum of all sites'}. A finite value is "
        "needed in every step: lower the learning rate, or start where the data are possible."
    )
