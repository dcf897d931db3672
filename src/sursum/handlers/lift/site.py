"""Build the message of a lifted site from a parameter and its prior."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum.common.torch_private import DisableTorchFunction, without_dispatch_modes
from sursum.core.messages import Deterministic, Param, Sample, Site
from sursum.core.plates import local_plates, place, plate_scale, present, take_present
from sursum.core.runtime import Messenger, handler, perform
from sursum.core.scope import Global, at_site, recall
from sursum.distributions.rebuild import floating_dtype
from sursum.distributions.supports import support_of
from sursum.errors import DuplicateSiteError, PlateError
from sursum.handlers.lift.constrained import View
from sursum.handlers.lift.fit import fit, fit_draw, truncated
from sursum.handlers.lift.resolve import consult


def propose(
    site: Param, key: str | None, entry: Any, hypers: dict[str, tuple[Site, Site]], view: View | None = None
) -> Sample | Param | None:
    """Apply `entry`, the prior under `key` (None: the only prior), to the parameter `site`.

    Returns a `Sample` to be sent outwards; a `Param` with its value if the prior is a single function that draws a tensor;
    None if the prior leaves this one a parameter. The sites that the prior draws are global, regardless of the parameter's
    plates; `hypers` holds them for the other parameters of this execution. With a `view`, `site` is the value that a parameter
    stands for.
    """
    value = _current(site)
    plates = () if value is None else local_plates(site, value)
    prior, entered = entry, set[str]()
    if not isinstance(entry, Distribution):
        with Global(plates=site.plates) as scope, _Once(known=hypers):
            prior = consult(entry, site, value, {} if view is None else {"registered": view.registered})
        entered = scope.entered
    if prior is None:
        return None
    draw = fit_draw(prior, site, value) if isinstance(prior, Tensor) else None
    if draw is not None and key is None:
        return site.but(value=draw)
    if view is not None and isinstance(prior, Distribution):
        prior = truncated(prior, site, always=prior is view.registered)
    fn = entry if draw is not None else fit(prior, site, value, plates, key, entered)
    return place(
        Sample(
            name=site.name,
            fn=fn,
            value=draw if draw is None else take_present(site, draw),
            plates=plates,
            scale=plate_scale(plates),
            param=site,
            init=value if value is None else _start_value(present(value, plates, value.dim() - (site.event_dim or 0)), fn),
            generator=site.generator,
            where=site.where,
        )
    )


def derived(answer: Site, site: Param, view: View) -> Deterministic:
    """The parameter `site` of a network, computed from the value that it stands for."""
    with at_site(site):
        value = view.raw(answer.value)
    return Deterministic(name=site.name, value=value, plates=answer.plates, param=site, where=site.where)


def again(first: Site, site: Param) -> Site:
    """A second read of a lifted parameter: the same value, restricted to the elements present here, and no second site."""
    param = first if isinstance(first, Param) else getattr(first, "param", None)
    if isinstance(param, Param) and param.owner is not site.owner:
        raise DuplicateSiteError(f"parameter {site} is read from two different networks. Give the two modules different names.")
    if isinstance(first, Param):
        return site.but(value=first.value)
    value = _present(first, site) if isinstance(param, Param) and param.init is not None else first.value
    return first.but(value=value, is_observed=True) if isinstance(first, Sample) else first.but(value=value)


def _present(first: Site, site: Param) -> Tensor:
    """The elements that are present in the plates around the second read, out of those drawn at the first."""
    value: Tensor = first.value
    whole: Tensor = first.param.init  # type: ignore[attr-defined]
    had = {frame.name: frame for frame in first.plates if frame.indices is not None}
    wanted = {frame.name: frame for frame in local_plates(site, whole) if frame.indices is not None}
    for name, frame in had.items():
        if name not in wanted or wanted[name].indices is not frame.indices:
            raise PlateError(
                f"parameter {site} was first read at {first.where} where plate {name!r} has {frame.length} of its "
                f"{frame.size} elements present, and is now read where others are. Read it first outside the plate."
            )
    for name, frame in wanted.items():
        if name not in had and frame.indices is not None:
            value = value.index_select(value.dim() + (frame.dim or 0) - (site.event_dim or 0), frame.indices)
    return value


def make_initial(site: Param) -> Param:
    """`site` with its initial value evaluated, if the program gives a function for it: once, and outside any capture.

    The own value of a lifted parameter only determines where chains start, so it may be random where a density may not.
    """
    if isinstance(site.initial, Tensor) or site.initial is None:
        return site
    with torch.no_grad(), without_dispatch_modes():
        held = recall(site.name)
        return site.but(initial=site.init if held is None else held)


def _current(site: Param) -> Tensor | None:
    """The parameter's value in a store, otherwise the program's, detached: priors see values, not the parameter itself."""
    held = recall(site.name)
    value = site.init if held is None else held
    # Densities detect reads of a network's own parameter after it was lifted; this read is legitimate.
    with DisableTorchFunction():
        return None if value is None else value.detach()


def _start_value(value: Tensor, fn: Any) -> Tensor:
    """`value` in the dtype that `fn` draws: an integer may be the starting point of a continuous site."""
    if value.is_floating_point() or not isinstance(fn, Distribution) or support_of(fn).is_discrete:
        return value
    return value.to(floating_dtype(fn) or torch.get_default_dtype())


@handler
class _Once(Messenger):
    """Draws a hyper-site of one name once per execution, whichever prior asks for it."""

    known: dict[str, tuple[Site, Site]] = field(default_factory=dict)

    def handle(self, site: Site) -> Any:
        if not isinstance(site, (Sample, Deterministic)):
            return perform(site)
        if site.name not in self.known:
            self.known[site.name] = site, perform(site)
        asked, answer = self.known[site.name]
        if _way(asked) != _way(site):
            raise DuplicateSiteError(
                f"two priors draw {site}, the first {_describe(asked)}, the second {_describe(site)}. It is one site, "
                "drawn once: draw it in the same way, or use two different names, for example "
                "by including the parameter's name."
            )
        return answer


def _way(site: Site) -> tuple[Any, ...]:
    """How a hyper-site is drawn: its kind, shape and plates."""
    fn = site["fn"]
    shape = fn.batch_shape + fn.event_shape if isinstance(fn, Distribution) else getattr(site.value, "shape", ())
    return type(fn).__name__, tuple(shape), tuple((frame.name, id(frame.indices)) for frame in site.plates)


def _describe(site: Site) -> str:
    kind, shape, plates = _way(site)
    inside = " and ".join(repr(name) for name, _ in plates)
    return f"{kind} of shape {shape} in {f'plate {inside}' if plates else 'no plate'}"
