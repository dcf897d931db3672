"""`AutoGaussian`: a normal distribution over all coordinates whose precision has the structure of the program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Transform, constraints

from sursum.common.taint import Provenance
from sursum.core.calling import run_program
from sursum.core.messages import Factor, Frame, Sample, Site, Step
from sursum.core.scope import Global
from sursum.core.trace import Trace
from sursum.density.parents import Parents
from sursum.vi.autoguide.guide import Place, run_answered
from sursum.vi.autoguide.init import InitLoc
from sursum.vi.autoguide.joint import JointGuide, normal_quantiles, standard, unpack


class AutoGaussian(JointGuide):
    r"""A normal distribution over all unconstrained coordinates, with a precision only where the program relates them.

    .. math:: u = \mu + s \odot a, \qquad a \sim N(P^{-1} h, P^{-1}), \qquad
        P = \sum_f A_f A_f^\top, \quad h = \sum_f A_f w_f

    with a term f for every latent and observed site, over the coordinates from which its density is computed, and one for every
    element of its plates. So given what is outside of a plate its elements are independent, as they are in the posterior. The
    parameters are ``auto.loc.s`` and ``auto.scale.s`` of a latent site ``s``, and of every term ``auto.white.f``, w, and
    ``auto.root.f``, A, (*plates, coordinates, columns).

    Args:
        model: the program.
        init_loc_fn: where the location starts; see `AutoGuide`.
        init_scale: the initial standard deviation of every coordinate.
        prefix: prefix of the parameters' names.

    References:
        Webb et al., "Faithful inversion of generative models for effective amortized inference" (2018).

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model():
        ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
        ...     with su.plate("groups", 3):
        ...         z = su.sample("z", dist.Normal(mu, 1.0))
        ...         su.sample("y", dist.Normal(z, 1.0), obs=torch.zeros(3))
        >>> guide = AutoGaussian(model)
        >>> with su.ParamStore():
        ...     _ = guide()
        ...     print((guide.precision() != 0).int())
        tensor([[1, 1, 1, 1],
                [1, 1, 0, 0],
                [1, 0, 1, 0],
                [1, 0, 0, 1]], dtype=torch.int32)
    """

    def __init__(
        self, model: Any, *, init_loc_fn: InitLoc | None = None, init_scale: float = 0.1, prefix: str = "auto"
    ) -> None:
        super().__init__(model, init_loc_fn=init_loc_fn, init_scale=init_scale, prefix=prefix)
        self._terms: tuple[Term, ...] = ()

    def set_up(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        super().set_up(args, kwargs)
        if self._terms:
            return

        def answer(site: Sample, steps: tuple[Step, ...], before: Trace) -> Sample:
            place = self.places[site.name]
            with torch.no_grad():
                return site.but(value=place.onto(place.present(place.start, site)))

        with Global(), Provenance() as seen:
            found = list[Parents]()

            def recorded(*args: Any, **kwargs: Any) -> Any:
                with Parents(seen=seen) as running:
                    found.append(running)
                    return run_program(self.model, args, kwargs)

            run_answered(recorded, args, kwargs, answer, alone=True)
        self._terms = tuple(terms(found[0].first, found[0].parents, self.places, self.slices))

    def posterior(self) -> Distribution:
        loc, scale, precision, pull = self._parameters()
        return standard(self.dim, loc, FromPrecision(loc, scale, torch.linalg.cholesky(precision), pull))

    def precision(self) -> Tensor:
        """The precision of a = (u − μ) / s, (n, n), with the parameters of the store around it."""
        return self._parameters()[2]

    def _parameters(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        loc, scale = list[Tensor](), list[Tensor]()
        for name, place in self.places.items():
            start = place.start.to(self.start.dtype)
            loc.append(self.parameter(f"loc.{name}", start.clone).reshape(-1))
            spread = self.parameter(f"scale.{name}", partial(torch.full_like, start, self.init_scale), constraints.positive)
            scale.append(spread.reshape(-1))
        n = self.dim
        pull, precision = self.start.new_zeros(n), self.start.new_zeros(n * n)
        for term in self._terms:
            root = self.parameter(f"root.{term.name}", partial(term.root, self.start, self.init_scale))
            white = self.parameter(f"white.{term.name}", partial(term.white, self.start))
            pull = pull.index_add(0, term.at, (root @ white.unsqueeze(-1)).reshape(-1))
            precision = precision.index_add(0, term.pairs(n), (root @ root.mT).reshape(-1))
        return torch.cat(loc), torch.cat(scale), precision.reshape(n, n), pull

    def quantile_points(self, levels: Tensor) -> Mapping[str, Tensor]:
        loc, scale, precision, pull = (part.double() for part in self._parameters())
        covariance = torch.linalg.inv(precision)
        mean = loc + scale * (covariance @ pull)
        return unpack(self, normal_quantiles(levels, mean, scale * covariance.diagonal().sqrt()))


class FromPrecision(Transform):
    r""":math:`u = \mu + s \odot L^{-\top} (\varepsilon + L^{-1} h)` for a precision :math:`L L^\top`: its log-Jacobian is
    :math:`\sum_i \log s_i - \log L_{ii}`."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, loc: Tensor, scale: Tensor, lower: Tensor, pull: Tensor) -> None:
        super().__init__()
        self.loc, self.scale, self.lower = loc, scale, lower
        self.mean: Tensor = torch.linalg.solve_triangular(lower, pull.unsqueeze(-1), upper=False).squeeze(-1)

    def _call(self, x: Tensor) -> Tensor:
        apart: Tensor = torch.linalg.solve_triangular(self.lower.mT, (x + self.mean).unsqueeze(-1), upper=True)
        return self.loc + self.scale * apart.squeeze(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        apart = (y - self.loc) / self.scale
        noise: Tensor = (self.lower.mT @ apart.unsqueeze(-1)).squeeze(-1)
        return noise - self.mean

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        total = self.scale.log().sum() - self.lower.diagonal().log().sum()
        return total.expand(y.shape[:-1])


@dataclass(frozen=True)
class Term:
    """What one site adds to the precision: in every element of its plates a matrix of `columns` columns.

    `index` has the coordinates that it is over, (*plates, coordinates); of a latent site its own come first.
    """

    name: str
    index: Tensor
    columns: int
    latent: bool

    @property
    def at(self) -> Tensor:
        """The coordinates, flat."""
        return self.index.reshape(-1)

    def pairs(self, n: int) -> Tensor:
        """The places of all pairs of coordinates in an (n, n) matrix, flat."""
        return (n * self.index.unsqueeze(-1) + self.index.unsqueeze(-2)).reshape(-1)

    def white(self, like: Tensor) -> Tensor:
        """Where w starts: at zero."""
        return like.new_zeros((*self.index.shape[:-1], self.columns))

    def root(self, like: Tensor, scale: float) -> Tensor:
        """Where A starts: small, and each column different, since at zero there is no gradient; of a latent site around one."""
        count = self.index.shape[-1]
        rows, columns = torch.arange(count, dtype=like.dtype), torch.arange(self.columns, dtype=like.dtype)
        waves = 0.5 * scale * torch.cos(torch.pi * (rows.unsqueeze(-1) + 0.5) * (columns + 1.0) / max(count, 1))
        if self.latent:
            on = torch.arange(self.columns)
            waves = waves.index_put((on, on), torch.ones(self.columns, dtype=like.dtype))
        return waves.expand(*self.index.shape[:-1], count, self.columns).clone()


def terms(
    sites: Mapping[str, Site],
    parents: Mapping[str, frozenset[str]],
    places: Mapping[str, Place],
    slices: Mapping[str, slice],
) -> list[Term]:
    """The terms of the sites of a program: latent ones, observed ones, and factors."""
    found = []
    for name, site in sites.items():
        latent = name in places
        if not latent and not (isinstance(site, Factor) or (isinstance(site, Sample) and site.is_observed)):
            continue
        above, through = _latent_above(name, parents, places)
        over = [name, *(up for up in places if up in above and up != name)] if latent else [up for up in places if up in above]
        if not over:
            continue
        plates = _plates(site)
        for between in through:
            if between in sites and isinstance(sites[between], Sample):  # summed out: it relates what is in different elements
                plates &= _plates(sites[between])
        if not latent:
            plates &= frozenset[Frame]().union(*(_plates(places[up].site) for up in over))
        shape = _shape(plates)
        index = torch.cat([_index(places[up], slices[up], plates).expand(*shape, -1) for up in over], -1)
        count = slices[name].stop - slices[name].start if latent else _elements(site)
        columns = max(count // shape.numel(), 1) if latent else min(max(count // shape.numel(), 1), index.shape[-1])
        found.append(Term(name, index, columns if isinstance(site, Sample) else index.shape[-1], latent))
    return found


def _latent_above(name: str, parents: Mapping[str, frozenset[str]], places: Mapping[str, Place]) -> tuple[set[str], set[str]]:
    """The latent sites from which a site is computed, and the other sites through which it is."""
    above, through, left = set[str](), set[str](), list(parents[name])
    while left:
        up = left.pop()
        if up in places:
            above.add(up)
        elif up not in through:
            through.add(up)
            left += parents.get(up, ())
    return above, through


def _plates(site: Site) -> frozenset[Frame]:
    """The vectorised plates of a site, without those of a scan, whose steps are part of one value."""
    found = frozenset[Frame]()
    for frame in getattr(site, "plates", ()):
        if isinstance(frame, Step):
            return frozenset()
        if frame.dim is not None:
            found |= {Frame(frame.name, frame.dim, frame.size)}
    return found


def _shape(plates: frozenset[Frame]) -> torch.Size:
    """The sizes of plates in their dimensions, with ones between them."""
    shape = [1] * max((-frame.dim for frame in plates if frame.dim is not None), default=0)
    for frame in plates:
        if frame.dim is not None:
            shape[frame.dim] = frame.size
    return torch.Size(shape)


def _index(place: Place, part: slice, plates: frozenset[Frame]) -> Tensor:
    """The coordinates of a site, (*plates, the rest): in the dimensions of those of its plates that are among `plates`."""
    index = torch.arange(part.start, part.stop).reshape(place.free_shape)
    kept = _plates(place.site) & plates
    shape = _shape(kept)
    stay = [place.batch + frame.dim for frame in sorted(kept, key=lambda f: f.dim or 0) if frame.dim is not None]
    move = [dim for dim in range(index.dim()) if dim not in stay]
    return index.permute((*stay, *move)).reshape(*shape, -1)


def _elements(site: Site) -> int:
    """How many numbers an observed site has, in whole plates."""
    if not isinstance(site, Sample):
        return 1
    count: int = (site.fn.batch_shape + site.fn.event_shape).numel()
    for frame in site.plates:
        if frame.indices is not None and frame.length:
            count = count // frame.length * frame.size
        elif isinstance(frame, Step):
            count *= frame.size
    return count
