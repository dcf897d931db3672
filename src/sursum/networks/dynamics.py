r"""`SGLD`, `SGHMC`, `SGNHT`: dynamics that draw from a posterior with noisy gradients of its log density.

All have a step size h, the time of a step, in coordinates divided by the square root of the preconditioner. A step of SGLD of
:math:`\varepsilon` in the literature is :math:`h^2`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from sursum.common.reprs import call_text
from sursum.common.settings import check_setting, real_number
from sursum.core.calling import check_program
from sursum.errors import SamplingError


@dataclass(eq=False)
class Momentum:
    """The state of chains besides their points: momenta, (chain, n), and thermostats, (chain, 1), where a method has them."""

    velocity: Tensor
    friction: Tensor


Scale = Tensor | float

Normal = Callable[[Tensor], Tensor]
"""Standard normal noise of the shape, dtype and device of a tensor."""


@dataclass(frozen=True, repr=False)
class Dynamics:
    """What the three share: the program, the step size and the preconditioner.

    Args:
        model: the program; its latent sites are drawn, its other parameters are held.
        step_size: h. With a Gaussian posterior of standard deviations s it must stay below about the smallest s.
        precondition: whether coordinates are scaled by the root mean square of their gradients, as RMSprop does, found in the
            warm-up and then fixed, so that it changes nothing about the distribution that is drawn from. The step size
            is then that of a coordinate of average scale.
    """

    model: Callable[..., Any]
    step_size: float
    precondition: bool = field(default=False, kw_only=True)

    second_order: ClassVar[bool] = True

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        check_program("model", self.model, SamplingError)
        _positive("step_size", self.step_size, "a hundredth of the posterior's standard deviations is careful")
        usual = "True or False"
        check_setting("precondition", isinstance(self.precondition, bool), self.precondition, usual, SamplingError, usual)

    def begin(self, q: Tensor, normal: Normal) -> Momentum:
        """The state at the start of chains, whose points q are (chain, n)."""
        return Momentum(normal(q) if self.second_order else q[:0], q[:0])

    def move(
        self, q: Tensor, gradient: Tensor, scale: Tensor | float, state: Momentum, h: float, normal: Normal | None
    ) -> None:
        """One step of chains at q, (chain, n): q and the state are written into. Without noise it is descent, with momentum."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class SGLD(Dynamics):
    r"""Stochastic-gradient Langevin dynamics.

    .. math:: q \leftarrow q + \tfrac{h^2}{2} G\,\hat\nabla \log p(q) + h\,G^{1/2} \xi, \qquad \xi \sim N(0, I)

    with the preconditioner G. For a normal posterior of variance :math:`s^2` and gradients without noise the draws have
    variance :math:`s^2 / (1 - h^2 / 4 s^2)`; gradient noise of variance V adds :math:`h^2 V / 4` to it, relatively and to
    first order.

    References:
        Welling, Teh (2011), Bayesian learning via stochastic gradient Langevin dynamics, ICML.
        Li, Chen, Carlson, Carin (2016), Preconditioned stochastic gradient Langevin dynamics, AAAI.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> su.infer.SGLD(lambda: su.sample("z", dist.Normal(0.0, 1.0)), 0.1).step_size
        0.1
    """

    second_order: ClassVar[bool] = False

    def move(
        self, q: Tensor, gradient: Tensor, scale: Tensor | float, state: Momentum, h: float, normal: Normal | None
    ) -> None:
        q.add_(gradient * (scale * scale), alpha=0.5 * h * h)
        if normal is not None:
            q.add_(normal(q).mul_(scale), alpha=h)


@dataclass(frozen=True, repr=False)
class SGHMC(Dynamics):
    r"""Stochastic-gradient Hamiltonian Monte Carlo: underdamped Langevin dynamics with friction :math:`\gamma`.

    .. math:: dq = G^{1/2} v\,dt, \qquad dv = G^{1/2} \hat\nabla \log p\,dt - \gamma v\,dt + \sqrt{2\gamma}\,dW

    by splitting into a kick, half a drift, friction, half a drift. With gradients without noise the draws of a normal posterior
    have its variance exactly; gradient noise of variance V adds :math:`h V / 2\gamma` to it, relatively and to first order.

    Args:
        friction: :math:`\gamma`, per time.

    References:
        Chen, Fox, Guestrin (2014), Stochastic gradient Hamiltonian Monte Carlo, ICML.
        Leimkuhler, Matthews (2013), Rational construction of stochastic numerical methods for molecular sampling, AMRX.
    """

    friction: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("friction", self.friction, "1 is usual")

    def move(
        self, q: Tensor, gradient: Tensor, scale: Tensor | float, state: Momentum, h: float, normal: Normal | None
    ) -> None:
        v = state.velocity
        v.add_(gradient * scale, alpha=h)
        q.add_(v * scale, alpha=0.5 * h)
        kept = math.exp(-self.friction * h)
        v.mul_(kept)
        if normal is not None:
            v.add_(normal(v), alpha=math.sqrt(1.0 - kept * kept))
        q.add_(v * scale, alpha=0.5 * h)


@dataclass(frozen=True, repr=False)
class SGNHT(Dynamics):
    r"""The stochastic-gradient Nosé–Hoover thermostat: SGHMC whose friction adapts to the noise of the gradients.

    .. math:: d\gamma = \left(\tfrac1n v^T v - 1\right) dt, \qquad
        dv = G^{1/2} \hat\nabla \log p\,dt - \gamma v\,dt + \sqrt{2a}\,dW

    Noise of the same variance in every coordinate is met exactly: no estimate of it is needed.

    Args:
        diffusion: a, the least noise; the friction starts there.

    References:
        Ding et al. (2014), Bayesian sampling using stochastic gradient thermostats, NeurIPS.
    """

    diffusion: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("diffusion", self.diffusion, "1 is usual")

    def begin(self, q: Tensor, normal: Normal) -> Momentum:
        wide = torch.promote_types(q.dtype, torch.float32)
        return Momentum(normal(q), torch.full((len(q), 1), self.diffusion, dtype=wide, device=q.device))

    def move(
        self, q: Tensor, gradient: Tensor, scale: Tensor | float, state: Momentum, h: float, normal: Normal | None
    ) -> None:
        v = state.velocity
        v.add_(gradient * scale, alpha=h)
        q.add_(v * scale, alpha=0.5 * h)
        self._heat(state, h)
        v.mul_((state.friction * -h).exp())
        if normal is not None:
            x = 2.0 * h * state.friction
            # (1 - e^-x) / x, which is 1 at 0: the noise that friction and diffusion leave after a time h.
            share = torch.where(x.abs() > 1e-12, -torch.expm1(-x) / x, 1.0)
            v.add_(normal(v) * (2.0 * self.diffusion * h * share).sqrt())
        self._heat(state, h)
        q.add_(v * scale, alpha=0.5 * h)

    def _heat(self, state: Momentum, h: float) -> None:
        """Half a step of the thermostats."""
        energy = state.velocity.square().mean(-1, keepdim=True, dtype=state.friction.dtype)
        state.friction.add_(energy - 1.0, alpha=0.5 * h)


def _positive(name: str, value: Any, remedy: str) -> None:
    real_number(name, value, SamplingError, remedy, above=0)
