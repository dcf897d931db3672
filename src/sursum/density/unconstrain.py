"""`Placed`: the handler that runs a program at unconstrained coordinates, and checks of what it may not contain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import torch
from torch import Tensor
from torch.distributions import ComposeTransform, Distribution, IndependentTransform

from sursum.core.messages import Sample, Site, Step
from sursum.core.runtime import Messenger, handler, required
from sursum.core.scope import own_batch, own_steps
from sursum.core.time_axis import Ledger
from sursum.core.trace import Trace
from sursum.density.answering import Answering
from sursum.density.whole import Whole
from sursum.distributions.bijections import bijection
from sursum.distributions.supports import support_of
from sursum.errors import DensityError
from sursum.handlers.enumerate.enumerated import Enumerated
from sursum.handlers.enumerate.held import HELD
from sursum.handlers.enumerate.support import finite_support


@handler
class Unconstrained(Answering):
    """Gives every latent site the value at coordinates that a subclass returns from `free`, and keeps the log-Jacobian."""

    jacobians: dict[str, tuple[Site, Tensor]] = field(init=False, repr=False, default_factory=dict)
    steps: Ledger = field(init=False, repr=False, default_factory=Ledger)

    def free(self, site: Sample, shape: torch.Size, onto: Any) -> Tensor:
        """The unconstrained value of a site, for all steps of the scans around it."""
        raise NotImplementedError

    def latent(self, site: Sample, steps: tuple[Step, ...]) -> Tensor:
        onto = map_onto(site)
        shape = onto.inverse_shape(own_shape(site))
        return self.free(site, torch.Size([*(step.size for step in steps), *shape]), onto)

    def settle(self, site: Sample, answer: Tensor) -> Sample:
        onto = map_onto(site)
        value = onto(answer)
        if value.shape != own_shape(site) and own_batch(site.fn.batch_shape) != site.fn.batch_shape:
            raise DensityError(
                f"the support of latent site {site} depends on a discrete site that is summed out, so that it would have "
                "a different support for each of its values. Draw it on a fixed support, and transform it in the program."
            )
        if not is_identity(onto):
            self._add(site, onto.log_abs_det_jacobian(answer, value))
        return site.but(value=value)

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
class Placed(Unconstrained):
    """Gives every latent site the value at the coordinates returned by `choose`; plates must not be subsampled."""

    choose: Callable[[Sample, torch.Size, Any], Tensor] = required()

    placed: set[str] = field(init=False, repr=False, default_factory=set)
    summed: Enumerated | None = field(init=False, repr=False, default=None)

    def free(self, site: Sample, shape: torch.Size, onto: Any) -> Tensor:
        self.placed.add(site.name)
        return self.choose(site, shape, onto)

    def subsample(self, site: Sample) -> Any:
        raise subsampled(str(site))


@handler
class Recalled(Messenger):
    """Keeps initial values of reparameterised sites by name."""

    values: Mapping[str, Tensor] = required()

    def recall(self, name: str) -> Tensor | None:
        return self.values.get(name)


def refuse_subsamples(found: Trace) -> None:
    """Raise DensityError for a subsampled plate that draws no site: one made outside the program, or given its indices."""
    for site in found.values():
        for frame in site.plates:
            if frame.length != frame.size:
                raise subsampled(f"{frame.name!r}, in which site {site} is,")


def subsampled(which: str) -> DensityError:
    return DensityError(
        f"plate {which} is subsampled, but a log density needs all the data. "
        "Leave subsample_size and subsample out, or use a method that takes minibatches: Fit(…, optim=…), or stochastic "
        "variational inference."
    )


def own_shape(site: Sample) -> torch.Size:
    """The shape of the value of a site: one value, whatever discrete sites its distribution depends on."""
    shape: torch.Size = own_batch(site.fn.batch_shape) + site.fn.event_shape
    return shape


def map_onto(site: Sample) -> Any:
    """The map from the coordinates of a latent site to its values."""
    return Whole.of(site) if site.infer.get(HELD) else bijection(continuous_support(site))


def is_identity(onto: Any) -> bool:
    while isinstance(onto, IndependentTransform):
        onto = onto.base_transform
    return isinstance(onto, ComposeTransform) and not onto.parts


def _why(site: Sample) -> str:
    """Why a discrete site is not summed out, and what to do."""
    if site.infer.get("enumerate", "parallel") is None:
        return (
            "its infer={'enumerate': None} keeps it from being summed out. Leave that out, draw it beside the others with "
            "MCMC(DiscreteGibbs(NUTS(model))), or observe it with condition"
        )
    if finite_support(site.fn) is None:
        return (
            "it has infinitely many values, which cannot be summed out. Draw it beside the others with "
            "MCMC(DiscreteGibbs(NUTS(model))), sum it out by hand, truncate it (a Categorical of the probabilities up to a "
            "bound), or observe it with condition; su.infer.Importance takes it as it is"
        )
    return "it is not summed out here. Sum it out by hand, for example with MixtureSameFamily, or observe it with condition"


def continuous_support(site: Sample) -> Any:
    if not isinstance(site.fn, Distribution):
        raise DensityError(f"latent site {site} cannot be scored: its prior is a function that returns a tensor.")
    try:
        support = support_of(site.fn)
    except (NotImplementedError, AttributeError) as error:
        raise DensityError(
            f"latent site {site} has no known support: {type(site.fn).__name__} does not say which values it has"
            f"{f' ({error})' if str(error) else ''}. Give the class a `support`, or its last transform a `codomain`."
        ) from error
    if support.is_discrete:
        raise DensityError(
            f"latent site {site} is discrete ({type(site.fn).__name__}), but gradients need continuous sites, and {_why(site)}."
        )
    return support
