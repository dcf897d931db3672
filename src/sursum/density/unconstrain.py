"""`Placed`: the handler by which a program runs at unconstrained coordinates, and what such a program may not have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import torch
from torch import Tensor
from torch.distributions import ComposeTransform, Distribution, IndependentTransform

from sursum.core.messages import Sample, Site, Step
from sursum.core.runtime import Messenger, handler, perform, required
from sursum.core.scope import own_steps
from sursum.core.time_axis import Ledger
from sursum.core.trace import Trace
from sursum.distributions.bijections import bijection
from sursum.distributions.delta import Delta
from sursum.distributions.fluent import unwrapped
from sursum.distributions.supports import support_of
from sursum.errors import DensityError


@handler
class Placed(Messenger):
    """Gives every latent site the value that `choose` places in unconstrained coordinates, and keeps the log-Jacobian."""

    choose: Callable[[Sample, torch.Size, Any], Tensor] = required()

    jacobians: dict[str, tuple[Site, Tensor]] = field(init=False, repr=False, default_factory=dict)
    steps: Ledger = field(init=False, repr=False, default_factory=Ledger)
    whole: dict[str, tuple[Any, Tensor]] = field(init=False, repr=False, default_factory=dict)
    placed: set[str] = field(init=False, repr=False, default_factory=set)

    def handle(self, site: Site) -> Any:
        if not isinstance(site, Sample) or site.is_observed:
            return perform(site)
        if site.infer.get("is_subsample"):
            raise subsampled(str(site))
        if site.value is not None:
            return perform(site)
        if isinstance(unwrapped(site.fn), Delta):
            # All mass at one point: nothing to infer, and no density that a sampler could follow.
            return perform(site.but(value=site.fn.rsample()))
        onto = bijection(continuous_support(site))
        shape = site.fn.batch_shape + site.fn.event_shape
        free = self._free(site, torch.Size(onto.inverse_shape(shape)), onto)
        value = onto(free)
        self.placed.add(site.name)
        if not is_identity(onto):
            self._add(site, onto.log_abs_det_jacobian(free, value))
        return perform(site.but(value=value))

    def _free(self, site: Sample, shape: torch.Size, onto: Any) -> Tensor:
        """The unconstrained value; in a scan this step's part of what is chosen, once, for all steps."""
        steps = own_steps(site)
        if not steps:
            return self.choose(site, shape, onto)
        loop, free = self.whole.get(site.name, (None, None))
        if loop is not steps[0].loop or free is None:
            free = self.choose(site, torch.Size([*(step.size for step in steps), *shape]), onto)
            self.whole[site.name] = steps[0].loop, free
        for step in steps:
            free = step.take(free)
        return free

    def _add(self, site: Site, log_jacobian: Tensor) -> None:
        steps = own_steps(site)
        if steps:
            self.steps.add(site.name, steps[-1], (site, log_jacobian))
        else:
            self.jacobians[site.name] = site, log_jacobian

    def leave(self, step: Step) -> None:
        for rows in self.steps.leave(step):
            site = rows[0][0]
            plates = tuple(frame for frame in site.plates if not (isinstance(frame, Step) and frame.loop is step.loop))
            self._add(site.but(plates=plates), step.join([row[1] for row in rows]))


@handler
class Recalled(Messenger):
    """Keeps values by name, in which reparameterised sites start."""

    values: Mapping[str, Tensor] = required()

    def recall(self, name: str) -> Tensor | None:
        return self.values.get(name)


def refuse_subsamples(found: Trace) -> None:
    """A plate made outside of the program, or given its indices, draws no site that could be refused."""
    for site in found.values():
        for frame in site.plates:
            if frame.length != frame.size:
                raise subsampled(f"{frame.name!r}, in which site {site} is,")


def subsampled(which: str) -> DensityError:
    return DensityError(
        f"plate {which} is subsampled, and a log density needs all of the data. "
        "Leave subsample_size and subsample out, or use a method that takes minibatches: Fit(…, optim=…), or stochastic "
        "variational inference."
    )


def is_identity(onto: Any) -> bool:
    while isinstance(onto, IndependentTransform):
        onto = onto.base_transform
    return isinstance(onto, ComposeTransform) and not onto.parts


def continuous_support(site: Sample) -> Any:
    if not isinstance(site.fn, Distribution):
        raise DensityError(f"latent site {site} cannot be scored: its prior is a function that returns a tensor.")
    support = support_of(site.fn)
    if support.is_discrete:
        raise DensityError(
            f"latent site {site} is discrete ({type(site.fn).__name__}), and gradients need continuous sites. Sum it out, "
            "for example with MixtureSameFamily, or observe it with condition."
        )
    return support
