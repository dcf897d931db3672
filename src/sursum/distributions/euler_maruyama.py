"""`EulerMaruyama`: the path of a stochastic differential equation, in steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.common.torch_private import is_all_true
from sursum.distributions.family import Family, normal
from sursum.errors import DensityError, OptionError

Equation = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class EulerMaruyama(Family):
    r"""The path of :math:`dx = f(x, t)\, dt + g(x, t)\, dW` at the times t, by the method of Euler and Maruyama:

    .. math:: x_{k + 1} \sim N\left(x_k + f(x_k, t_k) \Delta_k,\; g(x_k, t_k)^2 \Delta_k\right), \qquad
        \Delta_k = t_{k + 1} - t_k

    Each element has noise of its own. `sde_fn` gives drift and diffusion. A density calls it once, with all times: it
    indexes their elements from the right (`x[..., 0]`), and uses operations that broadcast.

    Args:
        t: the times, rising, shape (n,).
        sde_fn: a function of a state and its time, which gives f and g of the state's shape.
        init_dist: the distribution of the first state, a number or a vector.

    Raises:
        OptionError: times that are not a rising vector of at least two.
        DensityError: `sde_fn` gives something else than two tensors that broadcast to the states.

    References:
        Kloeden, Platen (1992), Numerical solution of stochastic differential equations.

    Example:
        >>> import sursum.distributions as dist
        >>> walk = EulerMaruyama(torch.arange(3.0), lambda x, t: (-0.5 * x, torch.ones_like(x)), dist.Normal(0.0, 1.0))
        >>> walk.log_prob(torch.tensor([1.0, 0.5, 0.25]))
        tensor(-3.2568)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = True
    init_dist: Any

    def __init__(self, t: Tensor, sde_fn: Equation, init_dist: Distribution, validate_args: bool | None = None) -> None:
        t = torch.as_tensor(t)
        if t.dim() != 1 or len(t) < 2:
            raise OptionError(f"`t` of `EulerMaruyama` must be a vector of at least two times, but has shape {tuple(t.shape)}.")
        if len(init_dist.event_shape) > 1:
            raise OptionError(
                f"`init_dist` of `EulerMaruyama` is of numbers or vectors, not of shape {tuple(init_dist.event_shape)}."
            )
        self.t, self.sde_fn = t, sde_fn
        self._keep((len(t), *init_dist.event_shape), validate_args, init_dist=init_dist)
        self.has_rsample = init_dist.has_rsample
        if self._validate_args and not is_all_true(t[1:] > t[:-1]):
            raise OptionError("the times `t` of `EulerMaruyama` must rise. Sort them, and leave out repeated ones.")

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> Any:
        return constraints.independent(constraints.real, len(self.event_shape))

    def _terms(self, state: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        found = self.sde_fn(state, time)
        if not (isinstance(found, tuple) and len(found) == 2):
            raise DensityError("`sde_fn` of `EulerMaruyama` must give two tensors, the drift and the diffusion.")
        drift, diffusion = (torch.as_tensor(each, dtype=state.dtype, device=state.device) for each in found)
        try:
            return drift.expand(state.shape), diffusion.expand(state.shape)
        except RuntimeError:
            raise DensityError(
                f"`sde_fn` of `EulerMaruyama` gave shapes {tuple(drift.shape)} and {tuple(diffusion.shape)} for states of "
                f"shape {tuple(state.shape)}: both must broadcast to that."
            ) from None

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        state = torch.as_tensor(self.init_dist.rsample(torch.Size(sample_shape)))
        noise, times = normal(state, shape), self.t.to(state)
        axis = len(shape) - len(self.event_shape)
        path = [state]
        for k in range(len(times) - 1):
            drift, diffusion = self._terms(path[-1], times[k])
            step = times[k + 1] - times[k]
            path.append(path[-1] + drift * step + diffusion * torch.sqrt(step) * noise.select(axis, k))
        return torch.stack(path, axis)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            if self.has_rsample:
                return self.rsample(sample_shape)
            raise DensityError("`EulerMaruyama` draws from an `init_dist` that has `rsample` only.")

    def _log_density(self, value: Tensor) -> Tensor:
        events = len(self.event_shape)
        axis = value.dim() - events
        times = self.t.to(value)
        before, after = value.narrow(axis, 0, len(times) - 1), value.narrow(axis, 1, len(times) - 1)
        shape = (len(times) - 1, *(1,) * (events - 1))
        drift, diffusion = self._terms(before, times[:-1].reshape(shape))
        step = torch.diff(times).reshape(shape)
        scale = diffusion * torch.sqrt(step)
        away = ((after - before - drift * step) / scale).square()
        terms = -0.5 * away - torch.log(scale.abs()) - 0.5 * math.log(2 * math.pi)
        path: Tensor = terms.flatten(axis).sum(-1) if events > 1 else terms.sum(-1)
        first: Tensor = self.init_dist.log_prob(value.select(axis, 0))
        return path + first
