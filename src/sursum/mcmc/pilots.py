"""Short runs of a program in different coordinates, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sursum.common.progress import Display, ProgressState
from sursum.density.log_density import LogDensity
from sursum.draws.ess_rhat import mixing_by_name
from sursum.errors import SamplingError, SursumError
from sursum.handlers.affine_reparam import AffineReparam
from sursum.handlers.loc_scale import LocScaleReparam
from sursum.handlers.reparam import Reparam, reparam
from sursum.handlers.transform_reparam import TransformReparam
from sursum.mcmc.centring import MARKS, FindRelative, RecordRelative, Relative, learn_centring
from sursum.mcmc.coordinates import AFFINE, CENTRED, NON_CENTRED, PARTIAL, Pilot, ReparamChoice, SiteChoice
from sursum.mcmc.discrete_gibbs import program_of, with_program

Array = NDArray[np.float64]
Ways = tuple[str, ...]
"""Of each site that is looked at, its coordinates."""

LONGER = 3
"""How many times as many draws the last runs make as the first."""

CLOSE = 1.5
"""Coordinates up to this many times as dear as the best are compared in longer runs."""

MARGIN = 0.9
"""Coordinates that are more complicated must cost at most this share of those of simpler ones."""

FINALISTS = 3

Draw = Callable[[Callable[..., Any], int], Any]
"""From a program and a factor of the number of draws, a posterior."""


def choose_coordinates(
    kernel: Any,
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    draw: Draw,
    display: Display,
) -> ReparamChoice:
    """Measure in which coordinates of every site that depends on others a kernel does best, and choose."""
    found: dict[str, Relative] = {}
    density = LogDensity(with_program(kernel, FindRelative(model, found=found)).model, args, kwargs)
    names = [latent.name for latent in density.latents]
    sites = {name: found[name] for name in names if name in found}
    shapes = {latent.name: latent.shape for latent in density.latents}
    if not sites:
        return ReparamChoice(model, (), (), {})
    search = _Search(model, names, sites, draw, display)
    try:
        best = search.run()
    finally:
        display.close()
    table = tuple(
        SiteChoice(name, shapes[name], way, search.centring(name, way), search.costs(name))
        for name, way in zip(sites, best, strict=True)
    )
    config = search.config(best)
    program = reparam(model, config) if config else model
    return ReparamChoice(program, table, tuple(search.pilots.values()), config)


def find_unmeasured(kernel: Any, init: Any) -> Callable[..., Any] | None:
    """The program of a kernel whose coordinates are to be measured; None if they are not.

    Raises:
        SamplingError: there is none, or something was given in coordinates that are yet to be found.
    """
    model = program_of(kernel)
    if not isinstance(model, reparam) or not model.is_measured:
        return None
    if model.fn is None:
        raise SamplingError('reparam(…, "auto") has no program yet. Write NUTS(su.reparam(model, "auto")).')
    if not isinstance(kernel.metric, str) or isinstance(init, np.ndarray):
        raise SamplingError(
            'a metric or a start in unconstrained coordinates was given, and reparam(…, "auto") has yet to find these. '
            "Leave it out, or sample the program that su.infer.ReparamSearch finds."
        )
    return model.fn


def runs_of(mcmc: Any, compiled: Callable[[Any], Any]) -> Draw:
    """Short runs with the settings of `mcmc`; those of one length have one seed, so that what differs is the coordinates."""
    plain = replace(mcmc, thin=1, until=None, store=None, keep=None, init=None, on=None, progress=False)

    def draw(program: Callable[..., Any], length: int) -> Any:
        kernel = with_program(mcmc.kernel, program)
        one = replace(plain, kernel=kernel, num_samples=length * mcmc.num_samples, seed=(mcmc.seed or 0) + length)
        run = one.prepared(compiled(kernel))
        run.work()
        return run.silently()

    return draw


@dataclass(eq=False)
class _Search:
    model: Callable[..., Any]
    names: list[str]
    sites: Mapping[str, Relative]
    draw: Draw
    display: Display
    pilots: dict[tuple[Ways, int], Pilot] = field(default_factory=dict)
    learnt: dict[str, Array] = field(default_factory=dict)
    units: dict[str, tuple[Array, Array]] = field(default_factory=dict)

    def run(self) -> Ways:
        """The coordinates of every site."""
        every = len(self.sites)
        self._learn(min((self._measure((way,) * every) for way in (CENTRED, NON_CENTRED)), key=_rank))
        for way in (PARTIAL, AFFINE):
            self._measure(self._plain((way,) * every))
        best = self._best(1)
        if every > 1:
            for place in range(every):
                for way in (CENTRED, NON_CENTRED, PARTIAL):
                    self._measure(self._plain((*best[:place], way, *best[place + 1 :])))
                best = self._best(1)
        return self._final(best)

    def _final(self, best: Ways) -> Ways:
        """The best of those that come close, by longer runs."""
        least = self.pilots[best, 1]
        close = [
            one
            for (_, length), one in self.pilots.items()
            if length == 1 and one.is_safe == least.is_safe and one.cost <= CLOSE * least.cost
        ]
        if len(close) < 2:
            return best
        for one in sorted(close, key=_rank)[:FINALISTS]:
            self._measure(one.ways, LONGER)
        return self._best(LONGER)

    def _best(self, length: int) -> Ways:
        """The cheapest, or a simpler one that is nearly as cheap."""
        ones = [one for (_, of), one in self.pilots.items() if of == length]
        least = min(ones, key=_rank)
        near = [one for one in ones if one.is_safe == least.is_safe and MARGIN * one.cost <= least.cost]
        order = (CENTRED, NON_CENTRED, PARTIAL, AFFINE)
        return min(near or [least], key=lambda one: (sum(order.index(way) for way in one.ways), one.cost)).ways

    def _plain(self, ways: Ways) -> Ways:
        """The same with partial centrings that are none as what they are."""
        return tuple(self._plainly(name, way) for name, way in zip(self.sites, ways, strict=True))

    def _plainly(self, name: str, way: str) -> str:
        if way != PARTIAL:
            return way
        c = self.learnt[name]
        return NON_CENTRED if not c.any() else CENTRED if (c == 1.0).all() else PARTIAL

    def _measure(self, ways: Ways, length: int = 1) -> Pilot:
        key = ways, length
        if key not in self.pilots:
            count = len(self.pilots) + 1
            self.display.update(lambda: ProgressState(count - 1, max(count, self._forecast), (f"pilot run {count}",)))
            self.pilots[key] = self._run_pilot(ways, length)
        return self.pilots[key]

    def costs(self, name: str) -> dict[str, float]:
        """The least that each way of a site has cost, by its longest runs."""
        place = list(self.sites).index(name)
        found: dict[str, tuple[int, float]] = {}
        for (ways, length), one in self.pilots.items():
            found[ways[place]] = min(found.get(ways[place], (0, np.inf)), (-length, one.cost))
        return {way: cost for way, (_, cost) in found.items()}

    @property
    def _forecast(self) -> int:
        return 4 + (2 * len(self.sites) if len(self.sites) > 1 else 0) + 2

    def _run_pilot(self, ways: Ways, length: int) -> Pilot:
        config = self.config(ways)
        inner = RecordRelative(self.model, sites=self.sites) if length == 1 else self.model
        program = reparam(inner, config) if config else inner
        try:
            posterior = self.draw(program, length)
        except SursumError as error:
            return Pilot(ways, 0, np.inf, 0, np.inf, 0, str(error).split(". ")[0], None)
        mixed = mixing_by_name({name: np.asarray(posterior[name]) for name in self.names})
        ess = min((float(np.nanmin(one.ess_bulk)) for one in mixed.values() if np.isfinite(one.ess_bulk).any()), default=1.0)
        r_hat = max((float(np.nanmax(one.r_hat)) for one in mixed.values() if np.isfinite(one.r_hat).any()), default=1.0)
        draws = posterior.num_chains * posterior.num_samples
        steps = int(posterior.stats["n_steps"].sum())
        diverged = int(posterior.stats["diverging"].sum())
        return Pilot(ways, draws, steps / max(ess, 1.0), diverged, r_hat, steps, "", posterior if length == 1 else None)

    def _learn(self, pilot: Pilot) -> None:
        """What the draws of the best pilot say of each site."""
        posterior = pilot.posterior
        if posterior is None:
            raise SamplingError(f"no short run of the program succeeded: {pilot.failure}. Sample it as it is, to see why.")
        for name, relative in self.sites.items():
            self.learnt[name] = learn_centring(posterior, name, relative.in_time)
            base = np.asarray(posterior[name + MARKS[2]])
            axes = tuple(range(base.ndim)) if relative.in_time else (0, 1)
            self.units[name] = base.mean(axes), np.maximum(base.std(axes), 1e-12)
        for one in self.pilots.values():
            object.__setattr__(one, "posterior", None)

    def centring(self, name: str, way: str) -> Array | None:
        """The centrings of a site, where there are any but 0 and 1."""
        return self.learnt[name] if way == PARTIAL else None

    def config(self, ways: Ways) -> dict[str, Reparam]:
        return dict(self._entries(ways))

    def _entries(self, ways: Ways) -> Iterator[tuple[str, Reparam]]:
        for (name, relative), way in zip(self.sites.items(), ways, strict=True):
            if way == CENTRED:
                continue
            made: Any = LocScaleReparam(0.0)
            if way == PARTIAL:
                c = self.learnt[name]
                made = LocScaleReparam(torch.from_numpy(c) if c.ndim else float(c))
            elif way == AFFINE:
                made = AffineReparam(*map(torch.from_numpy, map(np.asarray, self.units[name])))
            yield name, TransformReparam(made) if relative.transformed else made


def _rank(pilot: Pilot) -> tuple[bool, float]:
    return not pilot.is_safe, pilot.cost
