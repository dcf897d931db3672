"""Directions and pairs of angles: `ProjectedNormal`, `VonMises3D`, `SineBivariateVonMises`, `SineSkewed`."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.torch_private import is_all_true
from sursum.distributions.constraints import circular, sphere
from sursum.distributions.family import Family, normal, uniform
from sursum.distributions.log_bessel import log_i0e
from sursum.distributions.standard import VonMises
from sursum.distributions.supports import support_of
from sursum.distributions.tails import log_one_minus_exp
from sursum.errors import DensityError, OptionError

_POINTS = 512


class ProjectedNormal(Family):
    r"""The direction :math:`y / |y|` of a normal vector, :math:`y \sim N(c, I)`; a density by the surface of the sphere.

    .. math:: p(x) = (2 \pi)^{-n/2} \int_0^\infty r^{n-1} \exp\left(-\tfrac{1}{2} |r x - c|^2\right) dr

    Args:
        concentration: c, shape (…, n); its direction is the mean's, and the longer, the more concentrated.

    References:
        Hernandez-Stumpfhauser, Breidt, van der Woerd (2017), The general projected normal distribution of arbitrary dimension.

    Example:
        >>> ProjectedNormal(torch.zeros(2)).log_prob(torch.tensor([1.0, 0.0]))
        tensor(-1.8379)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"concentration": constraints.real_vector}
    support = sphere
    has_rsample = True
    concentration: Tensor

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        self._keep((concentration.shape[-1],), validate_args, concentration=concentration)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = self.concentration + normal(self.concentration, self._extended_shape(torch.Size(sample_shape)))
        length: Tensor = torch.linalg.vector_norm(drawn, dim=-1, keepdim=True)
        return drawn / length

    def _log_density(self, value: Tensor) -> Tensor:
        n = self.event_shape[0]
        along = (value * self.concentration).sum(-1)
        return _log_half_moment(along, n - 1) - self.concentration.square().sum(-1) / 2 - n / 2 * math.log(2 * math.pi)


def _log_half_moment(t: Tensor, order: int) -> Tensor:
    """log ∫ rᵏ exp(−r²/2 + r t) dr over r > 0, by a recursion in k; far on the left by its asymptotic series."""
    ahead, far = t > 0, t < -12.0
    right, left = torch.where(ahead, t, 1.0), torch.where(ahead | far, -1.0, t)
    # On the right everything is divided by e^(t²/2): all terms are positive.
    edge = torch.exp(-right.square() / 2)
    terms = [math.sqrt(2 * math.pi) * torch.special.ndtr(right)]
    close = [math.sqrt(math.pi / 2) * torch.special.erfcx(-left / math.sqrt(2.0))]
    for k in range(1, order + 1):
        before = ((k - 1) * terms[k - 2], (k - 1) * close[k - 2]) if k > 1 else (edge, torch.ones_like(left))
        terms.append(right * terms[k - 1] + before[0])
        close.append(left * close[k - 1] + before[1])
    away = torch.where(far, -t, 20.0)
    series = torch.zeros_like(away)
    for j in reversed(range(16)):
        factor = math.exp(math.lgamma(order + 2 * j + 1) - math.lgamma(j + 1) - j * math.log(2.0))
        series = series / away.square() + (-1) ** j * factor
    tail = torch.log(series) - (order + 1) * torch.log(away)
    found = torch.where(far, tail, torch.log(close[order]))
    return torch.where(ahead, right.square() / 2 + torch.log(terms[order]), found)


class VonMises3D(Family):
    r"""The von Mises–Fisher distribution of directions: :math:`p(x) = \frac{\kappa}{4 \pi \sinh \kappa} e^{c \cdot x}`.

    Args:
        concentration: c, shape (…, 3), of length κ.

    References:
        Mardia, Jupp (2000), Directional Statistics, section 9.3.2.

    Example:
        >>> VonMises3D(torch.tensor([1.0, 0.0, 0.0])).log_prob(torch.tensor([1.0, 0.0, 0.0]))
        tensor(-1.6925)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"concentration": constraints.real_vector}
    support = sphere
    concentration: Tensor

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.shape[-1] != 3:
            raise OptionError(f"`VonMises3D` takes concentrations of shape (…, 3), but got {tuple(concentration.shape)}.")
        self._keep((3,), validate_args, concentration=concentration)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        length: Tensor = torch.linalg.vector_norm(self.concentration, dim=-1, keepdim=True).clamp(min=1e-30)
        axis = self.concentration / length
        u = uniform(length, torch.Size([*shape[:-1], 1]))
        # The height has the density of an exponential that is cut off.
        height = 1 + torch.log(u + (1 - u) * torch.exp(-2 * length)) / length
        height = torch.where(length < 1e-6, 2 * u - 1, height).clamp(-1, 1)
        across = normal(axis, shape)
        across = across - (across * axis).sum(-1, keepdim=True) * axis
        width: Tensor = torch.linalg.vector_norm(across, dim=-1, keepdim=True)
        found = height * axis + (1 - height.square()).sqrt() * across / width
        total: Tensor = torch.linalg.vector_norm(found, dim=-1, keepdim=True)
        return found / total

    def _log_density(self, value: Tensor) -> Tensor:
        squared = self.concentration.square().sum(-1)
        near = squared < 1e-4
        kappa = torch.sqrt(torch.where(near, 1.0, squared))
        far = kappa - torch.log(kappa) + math.log(2 * math.pi) + log_one_minus_exp(-2 * kappa)
        close = math.log(4 * math.pi) + squared / 6 - squared.square() / 180
        return (self.concentration * value).sum(-1) - torch.where(near, close, far)


class SineBivariateVonMises(Family):
    r"""Two angles (φ, ψ) that depend on each other:

    .. math:: p(\varphi, \psi) \propto \exp\left(\kappa_1 \cos(\varphi - \mu) + \kappa_2 \cos(\psi - \nu)
        + \lambda \sin(\varphi - \mu) \sin(\psi - \nu)\right)

    The normalising constant is an integral over one angle, by the trapezoidal rule: exact to rounding for concentrations up
    to about 3000.

    Args:
        phi_loc, psi_loc: μ, ν.
        phi_concentration, psi_concentration: κ₁, κ₂ > 0.
        correlation: λ, or
        weighted_correlation: λ over :math:`\sqrt{\kappa_1 \kappa_2}`; between −1 and 1 there is one mode.

    Raises:
        OptionError: both or neither of the last two.

    References:
        Singh, Hnizdo, Demchuk (2002), Probabilistic model for two dependent circular variables.

    Example:
        >>> SineBivariateVonMises(0.0, 0.0, 1.0, 1.0, correlation=0.5).log_prob(torch.zeros(2))
        tensor(-2.1725)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "phi_loc": constraints.real,
        "psi_loc": constraints.real,
        "phi_concentration": constraints.positive,
        "psi_concentration": constraints.positive,
        "correlation": constraints.real,
    }
    support = constraints.independent(circular, 1)
    phi_loc: Tensor
    psi_loc: Tensor
    phi_concentration: Tensor
    psi_concentration: Tensor
    correlation: Tensor

    def __init__(
        self,
        phi_loc: Tensor | float,
        psi_loc: Tensor | float,
        phi_concentration: Tensor | float,
        psi_concentration: Tensor | float,
        correlation: Tensor | float | None = None,
        weighted_correlation: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if (correlation is None) == (weighted_correlation is None):
            raise OptionError("`SineBivariateVonMises` takes either `correlation` or `weighted_correlation`.")
        if weighted_correlation is not None:
            product = torch.as_tensor(phi_concentration) * torch.as_tensor(psi_concentration)
            correlation = weighted_correlation * torch.sqrt(product)
        self._keep(
            (2,),
            validate_args,
            phi_loc=phi_loc,
            psi_loc=psi_loc,
            phi_concentration=phi_concentration,
            psi_concentration=psi_concentration,
            correlation=correlation,
        )

    @property
    def mean(self) -> Tensor:
        """The circular means."""
        return torch.stack([self.phi_loc, self.psi_loc], -1)

    def _marginal(self, angle: Tensor) -> Tensor:
        """The log of the integral over φ at ψ − ν = `angle`, along the last dimension."""
        length = torch.sqrt(
            self.phi_concentration.square().unsqueeze(-1) + (self.correlation.unsqueeze(-1) * angle.sin()).square()
        )
        return log_i0e(length) + length + self.psi_concentration.unsqueeze(-1) * angle.cos()

    def _angles(self, count: int) -> Tensor:
        steps = torch.arange(count, dtype=self.phi_loc.dtype, device=self.phi_loc.device)
        return (steps + 0.5) * (2 * math.pi / count) - math.pi

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))[:-1]
        angles = self._angles(8192)
        cdf = self._marginal(angles).softmax(-1).cumsum(-1)
        u = uniform(self.phi_loc, torch.Size(shape))
        cdf = cdf.expand((*shape, len(angles)))
        place = torch.searchsorted(cdf.contiguous(), u.unsqueeze(-1)).clamp(max=len(angles) - 1)
        top = cdf.gather(-1, place)
        bottom = torch.where(place > 0, cdf.gather(-1, (place - 1).clamp(min=0)), 0.0)
        share = ((u.unsqueeze(-1) - bottom) / (top - bottom).clamp(min=1e-30)).clamp(0, 1)
        psi = (angles[place] + (share - 0.5) * (2 * math.pi / len(angles))).squeeze(-1)
        across = self.correlation * psi.sin()
        length = torch.sqrt(self.phi_concentration.square() + across.square())
        phi = VonMises(torch.atan2(across, self.phi_concentration), length, validate_args=False).sample()
        both = torch.stack([phi + self.phi_loc, psi + self.psi_loc], -1)
        return torch.remainder(both + math.pi, 2 * math.pi) - math.pi

    def _log_density(self, value: Tensor) -> Tensor:
        phi, psi = value[..., 0] - self.phi_loc, value[..., 1] - self.psi_loc
        norm = self._marginal(self._angles(_POINTS)).logsumexp(-1) + math.log(4 * math.pi**2 / _POINTS)
        cosines = self.phi_concentration * phi.cos() + self.psi_concentration * psi.cos()
        return cosines + self.correlation * phi.sin() * psi.sin() - norm


class SineSkewed(Family):
    r"""Symmetric angles made skew: :math:`p(x) = p_{base}(x) \left(1 + \sum_k a_k \sin(x_k - \mu_k)\right)`.

    Args:
        base_dist: a distribution of angles that is symmetric around its mean μ: `VonMises`, `SineBivariateVonMises`, or some
            `VonMises` with ``.to_event(1)``.
        skewness: a, of the shape of one value, with :math:`\sum_k |a_k| \le 1`.

    References:
        Ameijeiras-Alonso, Ley (2021), Sine-skewed toroidal distributions and their application in protein bioinformatics.

    Example:
        >>> import sursum.distributions as dist
        >>> SineSkewed(dist.VonMises(0.0, 1.0), 0.5).log_prob(torch.tensor([-1.0, 1.0]))
        tensor([-2.0795, -1.1823])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"skewness": constraints.dependent}
    base_dist: Any
    skewness: Tensor

    def __init__(self, base_dist: Any, skewness: Tensor | float, validate_args: bool | None = None) -> None:
        if base_dist.support is None or base_dist.support.is_discrete:
            raise DensityError(f"`SineSkewed` takes a distribution of angles, not {type(base_dist).__name__}.")
        self._keep(tuple(base_dist.event_shape), validate_args, base_dist=base_dist, skewness=skewness)
        if self._validate_args and not is_all_true(self._total(self.skewness.abs()) <= 1):
            raise ValueError("the absolute values of the skewness of a SineSkewed must add up to at most 1")

    def _total(self, value: Tensor) -> Tensor:
        return value.sum(-1) if self.event_shape else value

    @constraints.dependent_property
    def support(self) -> Any:
        return support_of(self.base_dist)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        drawn = torch.as_tensor(self.base_dist.sample(torch.Size(sample_shape)))
        away = drawn - self.base_dist.mean
        lean = (1 + self._total(self.skewness * away.sin())) / 2
        mirrored = uniform(lean, lean.shape) > lean
        other = self.base_dist.mean - away
        found = torch.where(mirrored.unsqueeze(-1) if self.event_shape else mirrored, other, drawn)
        return torch.remainder(found + math.pi, 2 * math.pi) - math.pi

    def _log_density(self, value: Tensor) -> Tensor:
        lean = self._total(self.skewness * torch.sin(value - self.base_dist.mean))
        return torch.as_tensor(self.base_dist.log_prob(value)) + torch.log1p(lean)
