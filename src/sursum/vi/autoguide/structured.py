"""`AutoStructured`: blocks of coordinates, a site each, that depend linearly on those of other sites."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Transform, constraints

from sursum import distributions as dist
from sursum.core.messages import Frame, Sample
from sursum.errors import GuideError
from sursum.handlers import ParamStore
from sursum.vi.autoguide.guide import Place
from sursum.vi.autoguide.init import InitLoc
from sursum.vi.autoguide.joint import JointGuide, normal_quantiles, unpack
from sursum.vi.pushforward import PlacedDelta, Pushforward

Dependency = str | Callable[[Tensor], Tensor]

KINDS = ("delta", "normal", "mvn")


class AutoStructured(JointGuide):
    r"""A distribution for each site, shifted by functions of the sites that it depends on.

    .. math:: a_i = s_i \odot (\varepsilon_i + L_i \varepsilon_i) + \sum_j f_{ij}(a_j), \qquad u_i = \mu_i + a_i,
        \qquad \varepsilon \sim N(0, I)

    with L strictly lower triangular, and without it, or without noise, for simpler conditionals; f is a matrix or a function.
    With matrices the precision of u has blocks where sites depend on each other. The parameters of a site ``s`` are
    ``auto.loc.s``, ``auto.scale.s``, ``auto.lower.s``, row by row, and ``auto.weight.s.t``, the matrix from a site ``t``.

    Args:
        model: the program.
        conditionals: "delta" (a point on the support), "normal" or "mvn" (a full covariance) for all sites, or by name; those
            that are not named are "mvn". By name also a function that draws the noise of a site, in place of
            :math:`s_i \odot (…)`, as auxiliary sites: ``su.sample("e", dist.StudentT(…), infer={"is_auxiliary": True})``.
        dependencies: by name, the sites that a site depends on, each with "linear" or a function from its a to a shift, of the
            same number of elements as the site: ``{"z": {"mu": "linear"}}``. "linear" for all: each depends on all before it.
        init_loc_fn: where locations start; see `AutoGuide`.
        init_scale: the initial standard deviation of every coordinate.
        prefix: prefix of the parameters' names.

    Raises:
        GuideError: a kind or a site that does not exist; dependencies that go round in a circle.

    References:
        Hoffman, Blei, "Structured stochastic variational inference" (2015).

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model():
        ...     z = su.sample("z", dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 1.0))
        ...     su.sample("y", dist.Normal(z, 1.0), obs=torch.tensor(2.0))
        >>> guide = AutoStructured(model, conditionals="normal", dependencies={"z": {"mu": "linear"}})
        >>> svi = su.infer.SVI(model, guide, su.optim.Adam(lr=0.05), seed=0)
        >>> result = svi.run(1500)
        >>> abs(float(svi.params["auto.weight.z.mu"].detach()) - 0.5) < 0.1
        True
    """

    def __init__(
        self,
        model: Any,
        *,
        conditionals: str | Mapping[str, str | Callable[[], Tensor]] = "mvn",
        dependencies: str | Mapping[str, Mapping[str, Dependency]] = "linear",
        init_loc_fn: InitLoc | None = None,
        init_scale: float = 0.1,
        prefix: str = "auto",
    ) -> None:
        super().__init__(model, init_loc_fn=init_loc_fn, init_scale=init_scale, prefix=prefix)
        kinds = [conditionals] if isinstance(conditionals, str) else list(conditionals.values())
        for kind in kinds:
            if not callable(kind) and kind not in KINDS:
                raise GuideError(
                    f"`conditionals` has {kind!r}, and a conditional is one of {', '.join(map(repr, KINDS))}, or a function "
                    "that draws noise."
                )
        if isinstance(dependencies, str) and dependencies != "linear":
            raise GuideError(
                f"`dependencies` is {dependencies!r}, but must be 'linear', or sites by name: {{'z': {{'mu': 'linear'}}}}."
            )
        self.conditionals, self.dependencies = conditionals, dependencies
        self._edges: dict[str, dict[str, Dependency]] = {}
        self._order: list[str] = []

    def laid_out(self, places: Mapping[str, Place]) -> None:
        super().laid_out(places)
        names = list(places)
        if isinstance(self.dependencies, str):
            self._edges = {name: dict.fromkeys(names[:at], self.dependencies) for at, name in enumerate(names)}
        else:
            self._edges = {name: dict(self.dependencies.get(name, {})) for name in names}
        named = {} if isinstance(self.dependencies, str) else self.dependencies
        known = [] if isinstance(self.conditionals, str) else list(self.conditionals)
        for name in [*known, *named, *(up for ups in named.values() for up in ups)]:
            if name not in places:
                raise GuideError(f"there is no latent site {name!r}; the model's are {', '.join(map(repr, names))}.")
        for name, ups in self._edges.items():
            for up, how in ups.items():
                if how != "linear" and not callable(how):
                    raise GuideError(f"site {name!r} depends on {up!r} by {how!r}, which is neither 'linear' nor a function.")
        self._order = _sorted(self._edges)

    def draw(self, place: Place, site: Sample, onto: Any, begun: Mapping[str, Tensor], outer: tuple[Frame, ...]) -> Sample:
        drawn = super().draw(place, site, onto, begun, outer)
        if self._kind(place.name) != "delta":
            return drawn
        # A point is one on the support, as that of AutoDelta.
        return drawn.but(fn=PlacedDelta(drawn.fn.free, drawn.fn.v, 0.0, len(site.fn.event_shape)))

    def posterior(self) -> Distribution:
        sizes = {name: self.slices[name].stop - self.slices[name].start for name in self._order}
        free = {name: size for name, size in sizes.items() if self._kind(name) in ("normal", "mvn")}
        count = sum(free.values())
        base = dist.Normal(
            torch.zeros(count, dtype=self.start.dtype), torch.ones((), dtype=self.start.dtype), validate_args=False
        ).to_event(1)
        return Pushforward(base, self._blocks(sizes), torch.Size([self.dim]))

    def _kind(self, name: str) -> str | Callable[[], Tensor]:
        return self.conditionals if isinstance(self.conditionals, str) else self.conditionals.get(name, "mvn")

    def _blocks(self, sizes: Mapping[str, int]) -> Blocks:
        loc, scale, lower, drawn = dict[str, Tensor](), dict[str, Tensor](), dict[str, Tensor](), dict[str, Tensor]()
        shifts: dict[str, list[tuple[str, Callable[[Tensor], Tensor]]]] = {}
        dtype = self.start.dtype
        for name, size in sizes.items():
            start = self.start[self.slices[name]]
            loc[name] = self.parameter(f"loc.{name}", start.clone)
            kind = self._kind(name)
            if callable(kind):
                drawn[name] = _flat(name, kind(), size, dtype)
            elif kind != "delta":
                scale[name] = self.parameter(
                    f"scale.{name}", partial(torch.full_like, start, self.init_scale), constraints.positive
                )
            if kind == "mvn" and size > 1:
                below = self.parameter(f"lower.{name}", partial(torch.zeros, size * (size - 1) // 2, dtype=dtype))
                rows, columns = torch.tril_indices(size, size, -1)
                flat = torch.zeros(size * size, dtype=dtype).index_put((rows * size + columns,), below)
                lower[name] = flat.reshape(size, size)
            shifts[name] = []
            for up, how in self._edges[name].items():
                if callable(how):
                    shifts[name].append((up, partial(_by, how, name, up, size)))
                    continue
                weight = self.parameter(f"weight.{name}.{up}", partial(torch.zeros, (size, sizes[up]), dtype=dtype))
                shifts[name].append((up, partial(_times, weight)))
        return Blocks(loc, scale, lower, drawn, shifts, self.slices)

    def quantile_points(self, levels: Tensor) -> Mapping[str, Tensor]:
        functions = any(callable(how) for ups in self._edges.values() for how in ups.values())
        if functions or any(callable(self._kind(name)) for name in self._order):
            raise GuideError(
                "AutoStructured has no marginal quantiles in closed form where sites depend on each other by functions, or "
                "draw their noise by them. Take those of draws: svi.sample(1000)."
            )
        blocks = self._blocks({name: self.slices[name].stop - self.slices[name].start for name in self._order})
        count = sum(len(scale) for scale in blocks.scale.values())
        centre = blocks(self.start.new_zeros(count))
        sd = (blocks(torch.eye(count, dtype=self.start.dtype)) - centre).double().norm(dim=0)
        return unpack(self, normal_quantiles(levels, centre, sd))

    def centre(self, params: ParamStore) -> dict[str, Tensor]:
        """The values of all sites at their locations μ: the medians, where sites depend on each other linearly.

        Args:
            params: the store with the guide's parameters, `svi.params`.
        """

        def points() -> dict[str, Tensor]:
            loc = torch.cat([self.parameter(f"loc.{name}", self.start[part].clone) for name, part in self.slices.items()])
            return unpack(self, loc.unsqueeze(0))

        return {name: value[0] for name, value in self.rows(params, points, 1).items()}


class Blocks(Transform):
    """From noise to u, site by site; its log-Jacobian is the sum of the logarithms of the scales."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(
        self,
        loc: Mapping[str, Tensor],
        scale: Mapping[str, Tensor],
        lower: Mapping[str, Tensor],
        drawn: Mapping[str, Tensor],
        shifts: Mapping[str, list[tuple[str, Callable[[Tensor], Tensor]]]],
        slices: Mapping[str, slice],
    ) -> None:
        super().__init__()
        self.loc, self.scale, self.lower, self.drawn = loc, scale, lower, drawn
        self.shifts, self.slices = shifts, slices

    def _call(self, x: Tensor) -> Tensor:
        at, apart, found = 0, dict[str, Tensor](), dict[str, Tensor]()
        for name, loc in self.loc.items():
            if name in self.scale:
                noise = x[..., at : at + len(loc)]
                at += len(loc)
                turned = noise + (self.lower[name] @ noise.unsqueeze(-1)).squeeze(-1) if name in self.lower else noise
                value = self.scale[name] * turned
            else:
                value = self.drawn.get(name, torch.zeros_like(loc)).expand(x.shape[:-1] + loc.shape)
            for up, shift in self.shifts[name]:
                value = value + shift(apart[up]).reshape(value.shape)
            apart[name] = value
            found[name] = loc + value
        return torch.cat([found[name] for name in sorted(found, key=lambda name: self.slices[name].start)], -1)

    def _inverse(self, y: Tensor) -> Tensor:
        apart, found = dict[str, Tensor](), list[Tensor]()
        for name, loc in self.loc.items():
            apart[name] = left = y[..., self.slices[name]] - loc
            for up, shift in self.shifts[name]:
                left = left - shift(apart[up]).reshape(left.shape)
            if name in self.scale:
                noise = (left / self.scale[name]).unsqueeze(-1)
                if name in self.lower:
                    noise = torch.linalg.solve_triangular(self.lower[name], noise, upper=False, unitriangular=True)
                found.append(noise.squeeze(-1))
        return torch.cat(found, -1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        total = sum((scale.log().sum() for scale in self.scale.values()), torch.zeros((), dtype=y.dtype))
        return total.expand(y.shape[:-1])


def _flat(name: str, drawn: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """What the user's function draws for a site, in one dimension."""
    if not isinstance(drawn, Tensor) or (drawn.numel() != size and drawn.shape[-1:] != (size,)):
        raise GuideError(
            f"the conditional of site {name!r} returned {drawn!r}, but must return a tensor of {size} numbers, its noise in "
            "unconstrained coordinates."
        )
    return (drawn.reshape(size) if drawn.numel() == size else drawn).to(dtype)


def _by(how: Callable[[Tensor], Tensor], name: str, up: str, size: int, apart: Tensor) -> Tensor:
    """The shift of a site by the user's function of another."""
    shift = how(apart)
    if not isinstance(shift, Tensor) or shift.numel() != apart.shape[:-1].numel() * size:
        raise GuideError(
            f"the function by which site {name!r} depends on {up!r} returned {shift!r}, but must return {size} numbers, the "
            f"shift of the coordinates of {name!r}, for the {apart.shape[-1]} of {up!r}."
        )
    return shift


def _times(weight: Tensor, vector: Tensor) -> Tensor:
    product: Tensor = (weight @ vector.unsqueeze(-1)).squeeze(-1)
    return product


def _sorted(edges: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The sites, each after those that it depends on.

    Example:
        >>> _sorted({"a": {"b": 1}, "b": {}})
        ['b', 'a']
    """
    left, found = list(edges), list[str]()
    while left:
        ready = [name for name in left if all(up in found for up in edges[name])]
        if not ready:
            raise GuideError(f"the dependencies of {', '.join(map(repr, left))} go round in a circle.")
        found.append(ready[0])
        left.remove(ready[0])
    return found
