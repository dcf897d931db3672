"""`NeuTraReparam`: all latent sites at once, in the coordinates in which a fitted guide is a standard normal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from sursum.core.messages import Factor, Sample
from sursum.core.runtime import perform
from sursum.core.scope import at_site
from sursum.density.unconstrain import continuous_support
from sursum.distributions.bijections import bijection
from sursum.errors import GuideError, SiteError
from sursum.handlers import ParamStore
from sursum.handlers.reparam import SharedReparam
from sursum.vi.autoguide.joint import JointGuide
from sursum.vi.autoguide.normal import AutoNormal
from sursum.vi.draws import snapshot
from sursum.vi.pushforward import sum_to


@dataclass(frozen=True)
class Transport:
    r"""A bijection :math:`u = T(\varepsilon)` of :math:`R^n`, and the coordinates of u of each site.

    Args:
        onto: T, with ``log_abs_det_jacobian``.
        slices: the coordinates of each site, by name.
        dtype: of ε and u.
    """

    onto: Any
    slices: Mapping[str, slice]
    dtype: torch.dtype

    @property
    def dim(self) -> int:
        """n."""
        return max(int(part.stop) for part in self.slices.values())


def transport(guide: JointGuide, params: ParamStore) -> Transport:
    """The map from standard normal noise to a fitted guide's unconstrained coordinates, with its parameters held.

    Raises:
        GuideError: a guide that has not been fitted, or that is not such a map.
    """
    if not isinstance(guide, JointGuide):
        instead = "AutoDiagonalNormal is the same family in one vector" if isinstance(guide, AutoNormal) else ""
        raise GuideError(
            f"NeuTraReparam needs a guide that maps a standard normal to all coordinates at once, but this is a "
            f"{type(guide).__name__}. {instead or 'AutoMultivariateNormal is one'}."
        )
    if not isinstance(params, ParamStore):
        raise GuideError(f"`params` is {type(params).__name__}, but must be the store of a run: give `svi.params`.")
    if not guide.places:
        raise GuideError(f"this {type(guide).__name__} has not been fitted yet: run SVI with it first.")
    # From a copy: later training does not change the coordinates of a chain.
    with torch.no_grad(), snapshot(params):
        onto = getattr(guide.posterior(), "onto", None)
    if onto is None:
        raise GuideError(
            f"the draws of this {type(guide).__name__} are not a one-to-one map of a standard normal of that dimension, as "
            "NeuTraReparam needs. AutoMultivariateNormal's are, and those of AutoNormalizingFlow with a flow whose base is "
            "normal."
        )
    return Transport(onto, guide.slices, guide.start.dtype)


class NeuTraReparam(SharedReparam):
    r"""Latent sites in the coordinates ε in which a fitted guide is standard normal, :math:`u = T(\varepsilon)`.

    .. math:: \log p(\varepsilon) = \log p(u) + \log\left|\det\tfrac{\partial u}{\partial \varepsilon}\right|

    where :math:`\log p(u)` includes the log-Jacobians of the supports. The better the guide, the closer the density of ε is
    to a standard normal, which is easiest to sample. The posterior is unchanged, however bad the guide. The auxiliary
    site is named ``neutra_base``; it must replace all sites of the guide: ``su.reparam(model, {"**": neutra})``.

    Args:
        guide: a fitted guide of the model whose draws are a bijection of normal noise: `AutoMultivariateNormal`,
            `AutoDiagonalNormal`, `AutoNormalizingFlow`.
        params: the store with its parameters, `svi.params`. They are held.

    Raises:
        GuideError: a guide that has not been fitted, or that is not such a map.

    References:
        Hoffman et al., "NeuTra-lizing bad geometry in Hamiltonian Monte Carlo using neural transport" (2019).

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model():
        ...     su.sample("y", dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 1.0), obs=torch.tensor(2.0))
        >>> guide = su.infer.autoguide.AutoMultivariateNormal(model)
        >>> svi = su.infer.SVI(model, guide, su.optim.Adam({"lr": 0.05}), su.infer.Trace_ELBO())
        >>> result = svi.run(20)
        >>> neutra = su.infer.reparam.NeuTraReparam(guide, svi.params)
        >>> su.infer.LogDensity(su.reparam(model, {"**": neutra})).coordinate_names()
        ['neutra_base[0]']
    """

    def __init__(self, guide: JointGuide, params: ParamStore) -> None:
        self.transport = transport(guide, params)

    def __call__(self, site: Sample) -> Tensor:
        raise SiteError(f"site {site} is written by NeuTraReparam through `reparam` only: su.reparam(model, {{'**': neutra}}).")

    def fresh(self) -> _NeutraRun:
        """One execution, in which all sites share a draw."""
        return _NeutraRun(self.transport)

    def finish(self) -> None:
        """Nothing: only an `_NeutraRun` ends."""


@dataclass(eq=False)
class _NeutraRun(SharedReparam):
    """The sites of one execution, each at its slice of u."""

    transport: Transport
    u: Tensor | None = None
    placed: set[str] = field(default_factory=set)

    def __call__(self, site: Sample) -> Tensor:
        part = self.transport.slices.get(site.name)
        if part is None:
            raise SiteError(
                f"latent site {site} is not in the guide that NeuTraReparam was given, which has "
                f"{', '.join(map(repr, self.transport.slices))}. Leave it out of the configuration, or fit a guide of this "
                "program."
            )
        if self.u is None:
            self.u = self._draw(site)
        onto = bijection(continuous_support(site))
        shape = onto.inverse_shape(site.fn.batch_shape + site.fn.event_shape)
        if torch.Size(shape).numel() != part.stop - part.start:
            raise SiteError(
                f"latent site {site} has {torch.Size(shape).numel()} coordinates, but {part.stop - part.start} in the guide "
                "that NeuTraReparam was given. Fit a guide of the program with the current arguments."
            )
        free = self.u[part].reshape(shape)
        value: Tensor = onto(free)
        with at_site(site):
            score = site.but(value=value, scale=1.0, mask=None).log_prob()
            # As in a density: scale and mask apply to the prior, not to the Jacobian.
            perform(
                Factor(
                    name=f"{site.name}_log_prob",
                    value=score,
                    scale=site.scale,
                    mask=site.mask,
                    plates=site.plates,
                    where=site.where,
                )
            )
            jacobian = sum_to(onto.log_abs_det_jacobian(free, value), 0)
            perform(Factor(name=f"{site.name}_log_jacobian", value=jacobian, where=site.where))
        self.placed.add(site.name)
        return value

    def _draw(self, site: Sample) -> Tensor:
        """u for one draw of the noise, with a factor that replaces the noise's density by the Jacobian."""
        zeros = torch.zeros(self.transport.dim, dtype=self.transport.dtype)
        noise = Sample(
            name="neutra_base",
            fn=Independent(Normal(zeros, torch.ones_like(zeros), validate_args=False), 1),
            generator=site.generator,
            where=site.where,
        )
        with at_site(noise):
            drawn = perform(noise).value
            u: Tensor = self.transport.onto(drawn)
            log_jacobian = sum_to(self.transport.onto.log_abs_det_jacobian(drawn, u), 0)
            correction = log_jacobian - noise.fn.log_prob(drawn)
            perform(Factor(name="neutra_log_det", value=correction, where=site.where))
        return u

    def fresh(self) -> _NeutraRun:
        return _NeutraRun(self.transport)

    def finish(self) -> None:
        """Check that all coordinates of the noise are used: an unused one would be drawn from a flat density."""
        missing = self.transport.slices.keys() - self.placed
        if self.placed and missing:
            raise SiteError(
                f"NeuTraReparam replaced {', '.join(map(repr, sorted(self.placed)))}, but its guide also has "
                f"{', '.join(map(repr, sorted(missing)))}, in the same coordinates. Name them all: "
                "su.reparam(model, {'**': neutra})."
            )
