"""`AutoLaplaceApproximation`: the posterior's mode by SVI, then the normal distribution of its curvature there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum import distributions as dist
from sursum.compiler.compiled import CompiledDensity, compile_density
from sursum.compiler.scan import rolled
from sursum.core.messages import Param, Site
from sursum.core.runtime import Messenger, handler, perform
from sursum.density.log_density import LogDensity
from sursum.errors import GuideError
from sursum.handlers import ParamStore
from sursum.optimise.curvature import curvature
from sursum.vi.autoguide.guide import AutoGuide
from sursum.vi.autoguide.joint import AutoMultivariateNormal, JointGuide
from sursum.vi.draws import snapshot


class AutoLaplaceApproximation(JointGuide):
    r"""A point in unconstrained coordinates u while it is trained; then Laplace's approximation around it.

    .. math:: \hat u = \operatorname{argmax}_u \log p(u), \qquad q(u) = N(\hat u, A^{-1}), \qquad A = -\nabla^2 \log p(\hat u)

    where :math:`\log p(u)` includes the log-Jacobians of the supports. The parameter is ``auto.loc``, of shape (n,). `median`
    returns the mode; `laplace_approximation` returns q, from which ``svi.sample(1000)`` draws. `su.infer.Laplace` does
    the same without training, by L-BFGS and Newton's method.

    Args:
        model: the program.
        init_loc_fn: where the search starts; see `AutoGuide`.
        prefix: prefix of the parameters' names.

    References:
        Tierney, Kadane, "Accurate approximations for posterior moments and marginal densities" (1986).

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model():
        ...     su.sample("y", dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 1.0), obs=torch.tensor(2.0))
        >>> svi = su.infer.SVI(model, AutoLaplaceApproximation(model), su.optim.Adam({"lr": 0.1}), seed=0)
        >>> result = svi.run(300)
        >>> normal = svi.guide.laplace_approximation(svi.params)
        >>> round(float(normal.median(svi.params)["mu"]), 2), round(float(normal.scale_tril(svi.params)), 2)
        (1.0, 0.71)
    """

    def __init__(self, model: Any, *, init_loc_fn: Any = None, prefix: str = "auto") -> None:
        super().__init__(model, init_loc_fn=init_loc_fn, prefix=prefix)

    def posterior(self) -> Distribution:
        return dist.Delta(self._loc(), event_dim=1)

    def laplace_approximation(self, params: ParamStore, *args: Any, **kwargs: Any) -> AutoMultivariateNormal:
        """The normal distribution with the mode and the curvature of the log density, as a guide.

        It has no parameters: mean and covariance are fixed, independently of the store around it. Parameters of the model
        that are not lifted are held at their values in `params`.

        Args:
            params: the store with the guide's parameters, `svi.params`.
            args, kwargs: arguments of the program; without any, those of the guide's first call.

        Raises:
            GuideError: the guide has not been trained; the log density does not fall in all directions from where training
                ended; the program now has different latent sites.
        """
        if not args and not kwargs:
            args, kwargs = self._called
        if f"{self.prefix}.loc" not in params:
            raise GuideError("this AutoLaplaceApproximation has not been fitted yet: run SVI with it first.")
        self.set_up(args, kwargs)
        # A copy, for a separate density: later training does not change it.
        compiled = compile_density(LogDensity(rolled(snapshot(params)(_held()(self.model))), args, kwargs))
        order = self._order(compiled)
        with torch.no_grad(), params:
            loc = self._loc().clone()
        q = np.empty(self.dim)
        q[order] = loc.double().numpy()
        bend = curvature(compiled.value_and_grad, q)
        if not bend.definite:
            sites = dict.fromkeys(compiled.density.site_at(i) for i in bend.flat() or range(self.dim))
            raise GuideError(
                f"Laplace's approximation needs a strict mode, but where training ended the log density does not fall "
                f"along {', '.join(map(repr, sites))}. Train for more steps, or give the site a prior that determines it."
            )
        # With A⁻¹ = F Fᵀ and Fᵀ = Q R the Cholesky factor is Rᵀ, up to the signs of its columns.
        upper = np.linalg.qr(bend.factor[order].T).R
        scale_tril = torch.from_numpy(upper.T * np.sign(np.diag(upper))).to(loc.dtype)
        return LaplaceNormal(self, loc, scale_tril, args, kwargs)

    def approximation(self, params: ParamStore, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> AutoGuide:
        return self.laplace_approximation(params, *args, **kwargs)

    def quantile_points(self, levels: Tensor) -> Mapping[str, Tensor]:
        points = self._loc().detach().double()
        return {
            name: points[self.slices[name]].reshape(place.free_shape).expand(len(levels), *place.free_shape)
            for name, place in self.places.items()
        }

    def _loc(self) -> Tensor:
        return self.parameter("loc", self.start.clone)

    def _order(self, compiled: CompiledDensity) -> list[int]:
        """The index of each of the guide's coordinates among those of the density."""
        latents = {latent.name: latent for latent in compiled.density.latents}
        sizes = {name: latent.stop - latent.start for name, latent in latents.items()}
        if sizes != {name: part.stop - part.start for name, part in self.slices.items()}:
            raise GuideError(
                f"the program has the latent coordinates {_count(sizes)} now, and had "
                f"{_count({name: part.stop - part.start for name, part in self.slices.items()})} when "
                "AutoLaplaceApproximation was set up. Call it with the data that it was trained with."
            )
        return [i for name in self.slices for i in range(latents[name].start, latents[name].stop)]


class LaplaceNormal(AutoMultivariateNormal):
    """A given normal distribution over all unconstrained coordinates of the sites of another guide."""

    def __init__(
        self, of: JointGuide, loc: Tensor, scale_tril: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        super().__init__(of.model, prefix=of.prefix)
        self.places, self.slices, self.start = of.places, of.slices, loc
        self._called = (tuple(args), dict(kwargs))
        scale = scale_tril.diagonal()
        self._given = loc, scale, (scale_tril / scale.unsqueeze(-1)).tril(-1)

    def _parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._given


@handler
class _held(Messenger):
    """A program whose trained parameters are held, and no longer lifted or trained."""

    def handle(self, site: Site) -> Any:
        return perform(site.but(frozen=True) if isinstance(site, Param) else site)


def _count(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name!r} ({size})" for name, size in sizes.items())
