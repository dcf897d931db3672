"""Guides with one distribution over all unconstrained coordinates: normal with full, diagonal or low-rank covariance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import AffineTransform, Distribution, Transform, constraints

from sursum import distributions as dist
from sursum.common.settings import whole_number
from sursum.core.messages import Frame, Sample
from sursum.core.plates import place as fit_to_plates
from sursum.core.runtime import perform
from sursum.core.scope import current_generator
from sursum.density.unconstrain import is_identity
from sursum.errors import GuideError
from sursum.handlers import ParamStore
from sursum.vi.autoguide.guide import AUXILIARY, AutoGuide, Place, join_plates
from sursum.vi.autoguide.init import InitLoc
from sursum.vi.autoguide.normal import check_scale
from sursum.vi.pushforward import PlacedDelta, Pushforward, sum_to


class JointGuide(AutoGuide):
    """A guide that draws the unconstrained coordinates of all sites at once, u ∈ Rⁿ, as its auxiliary site ``auto.z``.

    A subclass implements `posterior`, the distribution of u in terms of its parameters.
    """

    def __init__(
        self, model: Any, *, init_loc_fn: InitLoc | None = None, init_scale: float = 0.1, prefix: str = "auto"
    ) -> None:
        super().__init__(model, init_loc_fn=init_loc_fn, prefix=prefix)
        self.init_scale = check_scale(init_scale)
        self.slices: dict[str, slice] = {}
        self.start = torch.empty(0)

    def posterior(self) -> Distribution:
        """The distribution of u, of event shape (n,), with the parameters of the store around it."""
        raise NotImplementedError

    @property
    def dim(self) -> int:
        """n, the number of unconstrained coordinates."""
        return len(self.start)

    def laid_out(self, places: Mapping[str, Place]) -> None:
        at = 0
        for place in places.values():
            if any(frame.indices is not None for frame in place.site.plates):
                raise GuideError(
                    f"latent site {place.site} is in a subsampled plate, and {type(self).__name__} draws all coordinates at "
                    "once. Use AutoNormal for this site, alone or in an AutoGuideList."
                )
            self.slices[place.name] = slice(at, at + place.start.numel())
            at += place.start.numel()
        dtype = torch.promote_types(torch.float32, _widest([place.start.dtype for place in places.values()]))
        self.start = torch.cat([place.start.reshape(-1).to(dtype) for place in places.values()])

    def begin(self, outer: tuple[Frame, ...]) -> Mapping[str, Tensor]:
        site = Sample(
            name=f"{self.prefix}.z",
            fn=self.posterior(),
            plates=outer,
            infer={AUXILIARY: True},
            generator=current_generator(),
        )
        u: Tensor = perform(fit_to_plates(site)).value
        return {name: u[..., part] for name, part in self.slices.items()}

    def draw(self, place: Place, site: Sample, onto: Any, begun: Mapping[str, Tensor], outer: tuple[Frame, ...]) -> Sample:
        u = begun[place.name].to(place.start.dtype)
        # The plates around the guide are to the left of the site's own dimensions.
        left = u.shape[:-1][: max(u.dim() - 1 - place.batch, 0)]
        free = u.reshape(left + place.free_shape)
        value = onto(free)
        batch = len(left) + place.batch
        log_density: Tensor | float = 0.0
        if not is_identity(onto):
            log_density = -sum_to(onto.log_abs_det_jacobian(free, value), batch)
        fn = PlacedDelta(free, value, log_density, len(site.fn.event_shape))
        return Sample(name=site.name, fn=fn, plates=join_plates(outer, site.plates), where=site.where)


class AffineLower(Transform):
    r""":math:`u = \mu + s \odot (\varepsilon + U \varepsilon)` with U strictly lower triangular: its log-Jacobian is
    :math:`\sum_i \log s_i`."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, loc: Tensor, scale: Tensor, lower: Tensor) -> None:
        super().__init__()
        self.loc, self.scale, self.lower = loc, scale, lower

    def _call(self, x: Tensor) -> Tensor:
        return self.loc + self.scale * (x + (self.lower @ x.unsqueeze(-1)).squeeze(-1))

    def _inverse(self, y: Tensor) -> Tensor:
        centred = ((y - self.loc) / self.scale).unsqueeze(-1)
        solved: Tensor = torch.linalg.solve_triangular(self.lower, centred, upper=False, unitriangular=True)
        return solved.squeeze(-1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.scale.log().sum(-1)


class AutoMultivariateNormal(JointGuide):
    r"""A normal distribution with a full covariance over all unconstrained coordinates.

    .. math:: u = \mu + s \odot (\varepsilon + U \varepsilon), \quad \varepsilon \sim N(0, I)

    Parameters: ``auto.loc`` and ``auto.scale`` (n,), and ``auto.lower``, the n(n − 1)/2 elements below the diagonal of U, row
    by row. Relative to the scales an optimiser step has the same size in every row. `scale_tril` returns the Cholesky
    factor.

    Args:
        model: the program.
        init_loc_fn: where the mean starts; see `AutoGuide`.
        init_scale: the initial standard deviation of every coordinate.
        prefix: prefix of the parameters' names.

    References:
        Kucukelbir et al., "Automatic differentiation variational inference" (2017), section 2.4.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model():
        ...     su.sample("y", dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 1.0), obs=torch.tensor(2.0))
        >>> svi = su.infer.SVI(model, AutoMultivariateNormal(model), su.optim.Adam({"lr": 0.05}), su.infer.Trace_ELBO())
        >>> result = svi.run(10)
        >>> svi.guide.scale_tril(svi.params).shape
        torch.Size([1, 1])
    """

    def posterior(self) -> Distribution:
        loc, scale, lower = self._parameters()
        return standard(self.dim, loc, AffineLower(loc, scale, lower))

    def scale_tril(self, params: ParamStore) -> Tensor:
        """The Cholesky factor of the covariance of u, (n, n).

        Args:
            params: the store with the guide's parameters, `svi.params`.
        """
        with torch.no_grad(), params:
            _, scale, lower = self._parameters()
            return scale.unsqueeze(-1) * (lower + torch.eye(self.dim, dtype=lower.dtype))

    def _parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        n, dtype = self.dim, self.start.dtype
        loc = self.parameter("loc", self.start.clone)
        scale = self.parameter("scale", lambda: torch.full_like(self.start, self.init_scale), constraints.positive)
        elements = self.parameter("lower", lambda: torch.zeros(n * (n - 1) // 2, dtype=dtype))
        rows, columns = torch.tril_indices(n, n, -1)
        return loc, scale, torch.zeros(n * n, dtype=dtype).index_put((rows * n + columns,), elements).reshape(n, n)

    def quantile_points(self, levels: Tensor) -> Mapping[str, Tensor]:
        loc, scale, lower = self._parameters()
        return unpack(self, normal_quantiles(levels, loc, scale.double() * (1 + lower.double().square().sum(-1)).sqrt()))


class AutoDiagonalNormal(JointGuide):
    r"""Like `AutoNormal`, a normal distribution for every coordinate, but with one vector of means and one of scales.

    Parameters: ``auto.loc`` and ``auto.scale``, of shape (n,).

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> guide = AutoDiagonalNormal(lambda: su.sample("s", dist.Exponential(1.0)))
        >>> with su.ParamStore() as store:
        ...     _ = guide()
        >>> list(store.unconstrained)
        ['auto.loc', 'auto.scale']
    """

    def posterior(self) -> Distribution:
        loc, scale = self._parameters()
        return standard(self.dim, loc, AffineTransform(loc, scale, event_dim=1))

    def _parameters(self) -> tuple[Tensor, Tensor]:
        loc = self.parameter("loc", self.start.clone)
        return loc, self.parameter("scale", lambda: torch.full_like(self.start, self.init_scale), constraints.positive)

    def quantile_points(self, levels: Tensor) -> Mapping[str, Tensor]:
        loc, scale = self._parameters()
        return unpack(self, normal_quantiles(levels, loc, scale.double()))


class AutoLowRankMultivariateNormal(JointGuide):
    r"""A normal distribution whose covariance is diagonal plus a matrix of low rank r.

    .. math:: u = \mu + s \odot (F \eta + \varepsilon), \quad \eta \sim N(0, I_r),\; \varepsilon \sim N(0, I_n)

    Parameters: ``auto.loc`` (n,), ``auto.scale`` (n,), ``auto.cov_factor`` (n, r).

    Args:
        model: the program.
        rank: r; None is √n, rounded.
        init_loc_fn: where the mean starts; see `AutoGuide`.
        init_scale: the initial standard deviation of every coordinate.
        prefix: prefix of the parameters' names.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model():
        ...     return su.sample("z", dist.Normal(torch.zeros(9), 1.0).to_event(1))
        >>> with su.ParamStore() as store:
        ...     _ = AutoLowRankMultivariateNormal(model)()
        >>> store["auto.cov_factor"].shape
        torch.Size([9, 3])
    """

    def __init__(
        self,
        model: Any,
        *,
        rank: int | None = None,
        init_loc_fn: InitLoc | None = None,
        init_scale: float = 0.1,
        prefix: str = "auto",
    ) -> None:
        super().__init__(model, init_loc_fn=init_loc_fn, init_scale=init_scale, prefix=prefix)
        self.rank = None if rank is None else whole_number("rank", rank, 1, GuideError, "leave it out for √n")

    def posterior(self) -> Distribution:
        loc, scale, factor = self._parameters()
        return dist.LowRankMultivariateNormal(loc, scale.unsqueeze(-1) * factor, scale.square(), validate_args=False)

    def _parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        rank = max(round(math.sqrt(self.dim)), 1) if self.rank is None else self.rank
        loc = self.parameter("loc", self.start.clone)
        # Half of the variance comes from the factor, whose columns must differ: at zero they would have no gradient.
        scale = self.parameter("scale", lambda: torch.full_like(self.start, self.init_scale / 2**0.5), constraints.positive)
        factor = self.parameter("cov_factor", lambda: _columns(self.start, rank))
        return loc, scale, factor

    def quantile_points(self, levels: Tensor) -> Mapping[str, Tensor]:
        loc, scale, factor = self._parameters()
        sd = scale.double() * (1 + factor.double().square().sum(-1)).sqrt()
        return unpack(self, normal_quantiles(levels, loc, sd))


def standard(dim: int, like: Tensor, onto: Any) -> Distribution:
    """The distribution of ``onto(ε)`` for ε ~ N(0, I), in the dtype of `like`."""
    base = dist.Normal(torch.zeros(dim, dtype=like.dtype), torch.ones((), dtype=like.dtype), validate_args=False)
    return Pushforward(base.to_event(1), onto, torch.Size([dim]))


def normal_quantiles(levels: Tensor, loc: Tensor, sd: Tensor) -> Tensor:
    """Quantiles of normal distributions, (levels, n)."""
    z: Tensor = torch.special.ndtri(levels)
    return loc.double() + z.unsqueeze(-1) * sd


def unpack(guide: JointGuide, points: Tensor) -> dict[str, Tensor]:
    """Rows of u as the sites' coordinates."""
    return {name: points[:, guide.slices[name]].reshape(len(points), *place.free_shape) for name, place in guide.places.items()}


def _columns(like: Tensor, rank: int) -> Tensor:
    """A factor of unit row norms, each column a different wave."""
    rows = torch.arange(len(like), dtype=like.dtype).unsqueeze(-1)
    waves = torch.cos(torch.pi * (rows + 0.5) * torch.arange(rank, dtype=like.dtype) / max(len(like), 1))
    norms: Tensor = waves.norm(dim=-1, keepdim=True)
    return waves / norms.clamp_min(1e-6)


def _widest(dtypes: list[torch.dtype]) -> torch.dtype:
    widest = dtypes[0]
    for dtype in dtypes[1:]:
        widest = torch.promote_types(widest, dtype)
    return widest
