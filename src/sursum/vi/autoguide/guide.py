"""`AutoGuide`: a guide made from the model itself.

Called like the model, a guide runs the model and answers its latent sites with its own draws; no other message of the model
leaves it. So plates and their subsamples, supports that depend on other sites and hierarchical priors are those of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.reprs import call_text
from sursum.core.calling import refuse_coroutines, run_program
from sursum.core.messages import Frame, Param, Sample, Site, Step
from sursum.core.plates import present, whole_shape
from sursum.core.primitives import read
from sursum.core.runtime import handler, perform, required
from sursum.core.scope import Global, open_plates
from sursum.core.trace import Trace
from sursum.density.answering import Answering
from sursum.density.dtype_errors import explain_torch_errors
from sursum.density.unconstrain import continuous_support
from sursum.distributions.bijections import bijection
from sursum.distributions.supports import inside
from sursum.errors import GuideError
from sursum.handlers import ParamStore, trace
from sursum.handlers.buffers import Buffers
from sursum.handlers.enumerate.enumerated import can_enumerate
from sursum.handlers.enumerate.support import finite_support
from sursum.vi.autoguide.init import InitLoc, starting_point

AUXILIARY = "is_auxiliary"
#: A function from a latent site, the scan steps around it and the sites before it, to the site with its value for all steps.
Answer = Callable[[Sample, "tuple[Step, ...]", Trace], Sample]


@dataclass(frozen=True)
class Place:
    """A latent site in a guide: `free_shape` in unconstrained coordinates, of which `batch` leftmost dimensions are batch.

    Sizes are those of the full plates. `start` is where the guide starts. A site in a scan has its steps leftmost.
    """

    site: Sample
    onto: Any
    free_shape: torch.Size
    batch: int
    start: Tensor

    @property
    def name(self) -> str:
        return self.site.name

    def present(self, whole: Tensor, site: Sample) -> Tensor:
        """The rows of a tensor of the free shape that are present in the plates of `site`."""
        return present(whole, site.plates, self.batch)


class AutoGuide:
    r"""A guide :math:`q_\lambda(z)` over all latent sites of `model`.

    Args:
        model: the program. Its discrete sites are left out: a bound sums them out.
        init_loc_fn: a function from a latent site to the value at which the guide starts, or None for the site's initial
            value (a lifted parameter's own), otherwise the middle of its support; see `init_to_median` and others.
        prefix: prefix of the guide's parameters' names.

    Raises:
        DensityError: a discrete site that has infinitely many values.
        GuideError: the model has no latent sites, or its sites change between executions.
    """

    def __init__(self, model: Callable[..., Any], *, init_loc_fn: InitLoc | None = None, prefix: str = "auto") -> None:
        refuse_coroutines(model)
        if init_loc_fn is not None and not callable(init_loc_fn):
            raise GuideError(
                f"`init_loc_fn` is {init_loc_fn!r}, but must be a function of a site: for values by name give "
                "init_to_value(values)."
            )
        self.model, self.init_loc_fn, self.prefix = model, init_loc_fn, prefix
        self.places: dict[str, Place] = {}
        self._called: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})

    def __repr__(self) -> str:
        return call_text(self)

    # What a kind of guide says.

    def begin(self, outer: tuple[Frame, ...]) -> Mapping[str, Tensor]:
        """Draw what all sites share, inside the plates `outer`; the result is passed to `draw`."""
        return {}

    def draw(self, place: Place, site: Sample, onto: Any, begun: Mapping[str, Tensor], outer: tuple[Frame, ...]) -> Sample:
        """The guide's site for a latent site of the model."""
        raise NotImplementedError

    def conditional(self, site: Sample, before: Trace, outer: tuple[Frame, ...]) -> Sample | None:
        """The guide's site where the user gives it, from what the sites before are; None leaves it to `draw`."""
        return None

    def quantile_points(self, levels: Tensor) -> Mapping[str, Tensor]:
        """Marginal quantiles of the unconstrained coordinates of every site, (levels, *free shape)."""
        raise NotImplementedError

    # As a program.

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Draw every latent site. Parameters come from the `ParamStore` around it.

        Returns:
            The values by site name.
        """
        self.set_up(args, kwargs)
        outer = open_plates()
        begun = self.begin(outer)

        def answer(site: Sample, steps: tuple[Step, ...], before: Trace) -> Sample:
            answered: Sample = perform(self.sent(site, begun, outer, before))
            return answered

        return run_answered(self.model, args, kwargs, answer)

    def sent(self, site: Sample, begun: Mapping[str, Tensor], outer: tuple[Frame, ...], before: Trace) -> Sample:
        """The guide's site for a latent site of the model, by `conditional` or `draw`."""
        place = self.known(site)
        given = self.conditional(site, before, outer)
        return self.draw(place, site, self.onto(site), begun, outer) if given is None else given

    def onto(self, site: Sample) -> Any:
        """The bijection from unconstrained coordinates onto the support of a latent site, at the sites that it depends on."""
        return bijection(continuous_support(site))

    def set_up(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Find the model's latent sites, by one run at the values at which the guide starts; once."""
        if self.places:
            return
        found: dict[str, Place] = {}

        def answer(site: Sample, steps: tuple[Step, ...], before: Trace) -> Sample:
            place = found[site.name] = self.placed(site, steps)
            with torch.no_grad():
                return site.but(value=place.onto(place.present(place.start, site)))

        with Global():  # plates around the guide, e.g. of particles, do not belong to the model
            run_answered(self.model, args, kwargs, answer, alone=True)
        if not found:
            raise GuideError(
                f"{type(self).__name__} found no latent site in its model, so there is nothing to approximate. Give the "
                "model's parameters priors with lift, or write a sample site without obs."
            )
        self.laid_out(found)
        self.places, self._called = found, (tuple(args), dict(kwargs))

    def laid_out(self, places: Mapping[str, Place]) -> None:
        """Called once, when the latent sites are known."""

    def placed(self, site: Sample, steps: tuple[Step, ...]) -> Place:
        """The `Place` of a latent site, for all steps of the scans around it."""
        onto = bijection(continuous_support(site))
        batch = len(site.fn.batch_shape)
        one = torch.Size(onto.inverse_shape(site.fn.batch_shape + site.fn.event_shape))
        if steps:
            return self._in_all_steps(site, onto, one, [step.size for step in steps])
        whole = whole_shape(one, site.plates, batch)
        if whole == one:
            start = starting_point(site, onto, one, self.init_loc_fn)
        else:
            start = _whole_start(site, onto, whole)
        return Place(site, onto, whole, batch, start)

    def _in_all_steps(self, site: Sample, onto: Any, one: torch.Size, steps: list[int]) -> Place:
        """The `Place` of a site in a scan. Each step starts where the first does, or at its element of a given value."""
        if any(frame.indices is not None for frame in site.plates) or site.mask is not None:
            which = "a mask" if site.mask is not None else "a subsampled plate"
            raise GuideError(
                f"latent site {site} is in a scan and in {which}, which may differ from step to step: automatic guides draw "
                f"all steps at once. Write the guide by hand: draw {site.name!r} with a leading dimension, time."
            )
        whole = torch.Size([*steps, *one])
        given = None if self.init_loc_fn is None else self.init_loc_fn(site)
        wide = torch.Size([*steps, *site.fn.batch_shape, *site.fn.event_shape])
        if given is not None and torch.as_tensor(given).shape == wide:
            every = site.but(fn=site.fn.expand(torch.Size([*steps, *site.fn.batch_shape])))
            start = starting_point(every, onto, whole, lambda _: given)
        else:
            start = starting_point(site, onto, one, None if given is None else lambda _: given).expand(whole).clone()
        return Place(site, onto, whole, len(steps) + len(site.fn.batch_shape), start)

    def known(self, site: Sample) -> Place:
        """The `Place` of a latent site in a later execution."""
        place = self.places.get(site.name)
        if place is None:
            raise GuideError(
                f"latent site {site} did not exist when {type(self).__name__} was set up, with the sites "
                f"{', '.join(map(repr, self.places))}. A guide needs the same latent sites in every execution: is an observed "
                "site now without data?"
            )
        shape, wanted = (one.fn.batch_shape + one.fn.event_shape for one in (site, place.site))
        whole = all(frame.indices is None for frame in site.plates)
        if whole and shape[len(shape) - len(wanted) :] != wanted:
            raise GuideError(
                f"latent site {site} has shape {tuple(shape)}, and had {tuple(wanted)} when {type(self).__name__} was set up. "
                "A guide needs the same latent sites in every execution: make a new one for data of a different size, or draw "
                "minibatches by a plate's subsample_size."
            )
        return place

    def parameter(
        self, name: str, initial: Callable[[], Tensor], constraint: constraints.Constraint = constraints.real
    ) -> Tensor:
        """A parameter of the guide, global even inside plates."""
        value: Tensor = read(Param(name=f"{self.prefix}.{name}", initial=initial, constraint=constraint))
        return value

    # What has been learnt.

    def approximation(self, params: ParamStore, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> AutoGuide:
        """The guide whose draws approximate the posterior after training: usually itself."""
        return self

    def median(self, params: ParamStore) -> dict[str, Tensor]:
        """The guide's median of every latent site, on the support: that of each unconstrained coordinate, mapped.

        Args:
            params: the store that has the guide's parameters, `svi.params`.
        """
        return {name: value[0] for name, value in self.quantiles(params, [0.5]).items()}

    def quantiles(self, params: ParamStore, levels: Sequence[float]) -> dict[str, Tensor]:
        """Marginal quantiles of every latent site, of shape (levels, *shape of the site).

        Args:
            params: the store that has the guide's parameters, `svi.params`.
            levels: probabilities between 0 and 1.
        """
        levels = levels.tolist() if isinstance(levels, Tensor) else levels
        if not isinstance(levels, Sequence) or not levels or not all(0.0 < level < 1.0 for level in levels):
            raise GuideError(f"`levels` is {levels!r}, but must be a list of probabilities between 0 and 1: [0.05, 0.95].")
        return self.rows(params, lambda: self.quantile_points(torch.as_tensor(levels, dtype=torch.float64)), len(levels))

    def rows(self, params: ParamStore, points: Callable[[], Mapping[str, Tensor]], count: int) -> dict[str, Tensor]:
        """The values of every latent site, (count, *shape of the site), at unconstrained coordinates (count, *free shape)."""
        args, kwargs = self._called
        if not self.places:
            raise GuideError(f"this {type(self).__name__} has not been fitted yet: run SVI with it first.")
        if not isinstance(params, ParamStore):
            raise GuideError(f"`params` is {type(params).__name__}, but must be the store of a run: give `svi.params`.")
        rows: list[dict[str, Tensor]] = []
        with torch.no_grad(), params:
            at = points()
            for k in range(count):

                def answer(site: Sample, steps: tuple[Step, ...], before: Trace, k: int = k) -> Sample:
                    place = self.known(site)
                    return site.but(value=self.onto(site)(place.present(at[site.name][k].to(place.start.dtype), site)))

                rows.append(run_answered(self.model, args, kwargs, answer, alone=True))
        return {name: torch.stack([row[name] for row in rows]).detach() for name in rows[0]}


@handler
class _Answered(Answering):
    """Answers the latent sites of a model that is run as a guide; no other message leaves it."""

    answer: Answer = required()
    values: dict[str, Tensor] = required()
    alone: bool = False

    before: Trace = field(init=False, repr=False, default_factory=Trace)

    first: dict[str, Sample] = field(init=False, repr=False, default_factory=dict)

    def latent(self, site: Sample, steps: tuple[Step, ...]) -> Tensor:
        value: Tensor = self.answer(site, steps, self.before).value
        self.first[site.name], self.values[site.name] = site, value
        return value

    def settle(self, site: Sample, answer: Tensor) -> Sample:
        first = self.first[site.name]
        if first is not site:
            _check_support(site, first)
        return site.but(value=answer)

    def subsample(self, site: Sample) -> Any:
        return self.outside(site) if self.alone or site.value is not None else perform(site)

    def handle(self, site: Site) -> Any:
        # Not for the guide: a bound sums it out. It has some value.
        if isinstance(site, Sample) and can_enumerate(site) and (support := finite_support(site.fn)) is not None:
            last = support.values()[-1]
            site = site.but(value=last.expand(site.fn.batch_shape + site.fn.event_shape))
        return super().handle(site)

    def outside(self, site: Site) -> Any:
        return perform(site) if isinstance(site, Param) else site.run()


def _check_support(site: Sample, first: Sample) -> None:
    """Check that a later step of a scan has the support of the first."""
    support, known = continuous_support(site), continuous_support(first)
    if support is not known and not (inside(support, known) and inside(known, support)):
        raise GuideError(
            f"latent site {site} has the support {support!r} in this step of a scan and {known!r} in the first one: "
            "automatic guides draw all steps at once, on one support. Write the guide by hand, or draw the site on a fixed "
            "support and transform it in the program."
        )


def run_answered(
    model: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    answer: Answer,
    *,
    alone: bool = False,
) -> dict[str, Tensor]:
    """The values of the latent sites of one run of `model`, given by `answer`; with `alone` no subsample site leaves it."""
    values: dict[str, Tensor] = {}
    answered = _Answered(answer=answer, values=values, alone=alone)
    passive = Buffers(live=False)  # the model's own run updates the buffers of its networks
    with answered as running, trace() as recorder, explain_torch_errors(lambda: recorder.trace, model, args, kwargs), passive:
        running.before = recorder.trace
        run_program(model, args, kwargs)
    return values


def join_plates(outer: tuple[Frame, ...], plates: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """The plates of a guide's site: those around the guide, and those of the model's site, which has all steps of a scan."""
    names = {frame.name for frame in outer}
    return (*outer, *(frame for frame in plates if frame.name not in names and not isinstance(frame, Step)))


def _whole_start(site: Sample, onto: Any, whole: torch.Size) -> Tensor:
    """Where a subsampled site starts: at the full value of its parameter, or at zero."""
    init = None if site.param is None else site.param.init
    if init is not None:
        with torch.no_grad():
            free: Tensor = onto.inv(init.detach())
            if free.shape == whole and bool(torch.isfinite(free).all()):
                return free.clone()
    return torch.zeros(whole, dtype=site.init.dtype if site.init is not None else torch.get_default_dtype())


__all__ = ["AUXILIARY", "AutoGuide", "Place", "join_plates", "run_answered"]
