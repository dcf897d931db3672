"""How the discrete coordinates of a density are drawn: functions of all coordinates, compiled as the density is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.precision import in_double
from sursum.compiler.capture.capture import capture
from sursum.compiler.capture.where import site_at_work
from sursum.compiler.check.points import far_points
from sursum.compiler.function import Function
from sursum.compiler.graph.graph import Where
from sursum.core.messages import Sample, Site
from sursum.core.runtime import Messenger, handler, perform, required
from sursum.core.scope import own_steps
from sursum.density.backwards import Backwards, slopes
from sursum.density.layout import Latent
from sursum.density.log_density import LogDensity
from sursum.errors import CaptureError, CompileError, DensityError
from sursum.handlers.enumerate.held import HELD
from sursum.handlers.enumerate.support import LARGEST, VALUES, Support
from sursum.mcmc.kernel.gibbs import STRIDES, WINDOW, HeldBlock, Sweep

Array = NDArray[np.float64]


@handler
class ReleasedSite(Messenger):
    """Lets a discrete site be summed out that is held otherwise, over given `values` of each element, or all that it has."""

    site: str = required()
    values: Tensor | None = None

    def handle(self, site: Site) -> Any:
        if site.name == self.site and isinstance(site, Sample):
            site = site.but(infer={**site.infer, HELD: False, "enumerate": "parallel"})
            if self.values is not None:
                if site.fn.event_shape or own_steps(site):
                    raise DensityError(f"the elements of site {site} are not drawn together.")
                values = self.values
                site = site.but(infer={**site.infer, VALUES: Support(len(values), lambda: values)})
        return perform(site)


@dataclass(frozen=True, eq=False)
class Sweeps:
    """A sweep by C, and the same by torch; `native` is None where a part of it is not in C."""

    by_torch: Sweep
    native: Sweep | None

    @property
    def source(self) -> str:
        """The C, for what the bits of draws depend on."""
        if self.native is None:
            return ""
        functions = [self.native.score, *(block.draw for block in self.native.blocks if block.draw is not None)]
        return "\n".join(str(function.source) for function in functions)


def sweeps_of(compiled: Any) -> Sweeps | None:
    """How the discrete coordinates of a compiled density are drawn; None where it has none.

    A site all of whose values can be listed, and summed out, is drawn at once, all elements of its plates and all steps of its
    scans; any other element by element.

    Args:
        compiled: the density.
    """
    density, engine = compiled.density, compiled.engine
    if density.num_free == compiled.dim:
        return None
    held = [latent for latent in density.latents if latent.held]
    points = tuple(q.clone() for q in compiled.points)
    score = _function(lambda q: (density(q),), points, engine, f"the log density of {density.title}")
    blocks = []
    for latent in held:
        found = _at_once(density, latent, points, engine)
        blocks.append((latent.start - density.num_free, latent.stop - latent.start, *(found or (0, None))))
    by_torch = Sweep(
        lambda q: float(score(q)[0].nan_to_num(-torch.inf, torch.inf, -torch.inf)),  # a guard fails: NaN
        density.limits,
        tuple(HeldBlock(first, count, noise, draw and _flat(draw)) for first, count, noise, draw in blocks),
    )
    functions = [score, *(draw for *_, draw in blocks if draw is not None)]
    if engine != "native" or any(getattr(function, "native", None) is None for function in functions):
        return Sweeps(by_torch, None)
    native = Sweep(
        score.native,
        density.limits,
        tuple(HeldBlock(first, count, noise, draw and draw.native) for first, count, noise, draw in blocks),
    )
    return Sweeps(by_torch, native)


def _at_work() -> Where:
    """The site that is scored; outside of sites no line, so that the C does not depend on where a run was started."""
    found = site_at_work()
    return found if found.line else Where(found.site, "a sweep")


def _flat(draw: Callable[[Tensor], Sequence[Tensor]]) -> Callable[[Array], Array]:
    return lambda x: draw(torch.from_numpy(x))[0].numpy().reshape(-1)


def _function(run: Callable[[Tensor], Sequence[Tensor]], points: Any, engine: str, title: str) -> Any:
    """A function of coordinates, by the engine of the density."""
    if engine == "eager":

        def eagerly(q: Any) -> Sequence[Tensor]:
            with torch.no_grad():
                try:
                    return run(torch.as_tensor(q))
                except (ValueError, torch.linalg.LinAlgError):
                    return (torch.tensor(-torch.inf, dtype=torch.float64),)

        return eagerly
    function = Function.of(capture(run, points, gradient=False, current_site=_at_work))
    proofs = [*points, *far_points(points[0])]
    compiled = function.compiled(engine, title=title, outputs=("value",), proofs=proofs)
    return _Scored(compiled)


@dataclass(frozen=True, eq=False)
class _Scored:
    """A function whose guards make it −∞."""

    function: Function

    @property
    def native(self) -> Any:
        return self.function.native

    def __call__(self, q: Any) -> Sequence[Tensor]:
        try:
            return self.function(torch.as_tensor(q))
        except (ValueError, torch.linalg.LinAlgError):
            return (torch.tensor(-torch.inf, dtype=torch.float64),)


def _at_once(density: LogDensity, latent: Latent, points: Any, engine: str) -> tuple[int, Any] | None:
    """How many uniform numbers it takes to draw a site at once, given all coordinates, and the function that does.

    None where its elements are entangled, or the program is not written for all values at once.
    """
    if engine == "eager":
        return None
    with warnings.catch_warnings(), suppress(DensityError, CaptureError, CompileError):
        warnings.simplefilter("ignore")
        few = bool((np.diff(_limits(density, latent)) < LARGEST).all())
        drawn = _Listed(density, latent) if few else _Windows(density, latent, points[0])
        count = drawn.count_noise(points[0])
        rng = np.random.default_rng(0)
        ends = [torch.cat([q, torch.from_numpy(rng.random(count))]) for q in points]
        function = Function.of(capture(drawn, (ends[0], ends[1]), gradient=False, current_site=_at_work))
        title = f"the draw of {latent.name} in {density.title}"
        return count, _Scored(function.compiled(engine, title=title, outputs=("value",), proofs=ends))
    return None


def _limits(density: LogDensity, latent: Latent) -> Array:
    limits: Array = density.limits[latent.start - density.num_free : latent.stop - density.num_free]
    return limits


class _Listed:
    """A draw of a site given all others, all its elements at once, as a function of all coordinates and of uniform numbers."""

    noise = 0  # numbers that are needed before the sums

    def __init__(self, density: LogDensity, latent: Latent) -> None:
        self.density, self.latent = density, latent
        self.released = LogDensity(self.model(), density.args, density.kwargs)
        if self.released.plan is None or latent.name not in self.released.plan.sites:
            raise DensityError(f"site {latent.name!r} is not summed out by itself.")
        self.slices = {other.name: slice(other.start, other.stop) for other in density.latents}
        self.places: dict[Any, Any] = {}

    def model(self) -> Any:
        """The program, with the site to be summed out."""
        return ReleasedSite(self.density.model, site=self.latent.name)

    def values(self) -> Tensor:
        """The values of the site, as coordinates."""
        assert self.released.plan is not None  # it was checked
        found = self.released.plan.supports[self.latent.name].values()
        return (found.argmax(-1) if self.latent.free_shape != self.latent.shape else found).to(torch.float64)

    def count_noise(self, q: Tensor) -> int:
        """How many uniform numbers are needed."""
        sizing = Backwards(False)
        with torch.enable_grad(), in_double():
            slopes(self.released, self._rest(q), sizing)
        self.places = sizing.places
        return self.noise + sizing.count

    def __call__(self, x: Tensor) -> tuple[Tensor]:
        q, noise = x[: self.density.dim], x[self.density.dim + self.noise :]
        chosen = self._choose(self.released, q, noise, {})
        return (self.values()[chosen],)

    def _choose(self, density: LogDensity, q: Tensor, noise: Tensor, added: dict[str, Tensor]) -> Tensor:
        with torch.enable_grad():
            dim, slope = slopes(density, self._rest(q), Backwards(False, noise, self.places), added)[self.latent.name]
        return slope.argmax(dim).detach()

    def _rest(self, q: Tensor) -> Tensor:
        """The coordinates of the other sites."""
        return torch.cat([q[:0], *(q[self.slices[other.name]] for other in self.released.latents)])


class _Windows(_Listed):
    """The same among values of a window around each element, of random place and stride."""

    def __init__(self, density: LogDensity, latent: Latent, start: Tensor) -> None:
        self.shape = latent.free_shape
        self.noise = 2 * int(np.prod(self.shape))
        low, high = torch.from_numpy(_limits(density, latent).copy()).unbind(-1)
        self.low, self.high = low.reshape(self.shape), high.reshape(self.shape)
        least = (start[latent.start : latent.stop].reshape(self.shape).round() - WINDOW // 2).maximum(self.low)
        self.first = torch.stack([least + k for k in range(WINDOW)]).minimum(self.high)
        super().__init__(density, latent)

    def model(self) -> Any:
        return ReleasedSite(self.density.model, site=self.latent.name, values=self.first)

    def __call__(self, x: Tensor) -> tuple[Tensor]:
        q, noise = x[: self.density.dim], x[self.density.dim :]
        here = q[self.slices[self.latent.name]].reshape(self.shape)
        spread, place = noise[: self.noise].reshape(2, *self.shape).unbind(0)
        stride = torch.pow(2.0, (STRIDES * spread * spread).floor()).round()
        numbers = torch.arange(float(WINDOW), dtype=torch.float64).reshape(-1, *[1] * len(self.shape))
        whole = here + stride * (numbers - (WINDOW * place).floor())
        values = whole.maximum(self.low).minimum(self.high)
        impossible = torch.where(values == whole, torch.zeros_like(whole), torch.full_like(whole, -torch.inf))
        at = self.released.under(lambda model: ReleasedSite(model, site=self.latent.name, values=values))
        chosen = self._choose(at, q, noise[self.noise :], {self.latent.name: impossible})
        return (values.gather(0, chosen.reshape(self.shape).unsqueeze(0))[0],)
