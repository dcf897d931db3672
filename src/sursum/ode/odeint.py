"""`odeint`: an ordinary differential equation, by steps of Dormand and Prince whose size follows the error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sursum.common.settings import check_setting, whole_number
from sursum.common.torch_private import dispatch_modes, is_batched
from sursum.core.failure import is_explaining
from sursum.core.scan import scan
from sursum.core.scope import current_roller
from sursum.errors import IntegrationError
from sursum.ode.dormand_prince import Control, IntegratorState, advance


def odeint(
    f: Callable[[Tensor, Tensor], Tensor],
    y0: Tensor,
    t: Tensor,
    *,
    rtol: float = 1e-6,
    atol: float = 1e-6,
    max_steps: int | None = None,
) -> Tensor:
    r"""The solution of :math:`dy/dt = f(t, y)`, :math:`y(t_0) = y_0`, at increasing or decreasing times.

    By Dormand and Prince's pair of orders 5 and 4, with an end of a step at each time. The next size follows the error e of a
    step h, which is taken if e is at most 1,

    .. math:: e^2 = \frac{1}{n} \sum_i \left(\frac{Δ_i}{a + r \max(|y_i|, |y'_i|)}\right)^2, \qquad
              h ← h \cdot \min(4.8, \max(0.2, 0.9 e^{-1/5})),

    rounded down to a power of :math:`2^{1/8}`. The gradient is that of the steps taken, with their sizes as constants (the
    discrete adjoint).

    In a density this is two loops of `max_steps` steps each, in C where the rest is: one chooses the sizes, without a
    gradient, and one takes the steps. Their time grows with `max_steps`, not with the number of steps that are needed. Where
    they do not reach a time, the solution there is NaN, and the log density of what depends on it −∞ or NaN, so that a sampler
    rejects the point.

    Args:
        f: the slope, a function of a time (a tensor without dimensions) and a tensor like `y0`. It may use parameters and sites
            from outside; it must not branch on tensors, nor have sites of its own.
        y0: the solution at `t[0]`, a tensor of floats of any shape. All its numbers share their steps.
        t: times, shape (T,), strictly increasing or strictly decreasing; they are data, and have no gradient.
        rtol: the relative tolerance r of a step.
        atol: the absolute tolerance a of a step.
        max_steps: the largest number of steps, rejected ones included; 100 and 8 more for each time if left out.

    Returns:
        The solution at the times, shape (T, \*shape of y0), `y0` first.

    Raises:
        IntegrationError: outside of densities, `max_steps` steps that do not reach the last time; times that are not in
            order, a tolerance that is not positive, or a slope of another shape.

    References:
        Dormand and Prince (1980), A family of embedded Runge-Kutta formulae.
        Hairer, Nørsett and Wanner (1993), Solving ordinary differential equations I, II.4.

    Example:
        >>> import torch, sursum as su
        >>> rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        >>> t = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
        >>> y = su.odeint(lambda t, y: -rate * y, torch.tensor(1.0, dtype=torch.float64), t)
        >>> bool(((y - torch.exp(-rate * t)).abs() < 1e-6).all())
        True
        >>> round(float(torch.autograd.grad(y[-1], rate)[0]), 5)  # −2 exp(−1)
        -0.73576
    """
    for name, value in (("rtol", rtol), ("atol", atol)):
        holds = isinstance(value, (int, float)) and 0 < value < math.inf
        check_setting(name, holds, value, "a positive number", IntegrationError, "it is the error that a step may have")
    times, sign = _times(t, y0)
    most = 100 + 8 * (len(times) - 1) if max_steps is None else max_steps
    most = whole_number("max_steps", most, 2, IntegrationError, "it is the largest number of steps")

    def slope(time: Tensor, value: Tensor) -> Tensor:
        found = f(time, value)
        if not isinstance(found, Tensor) or found.shape != value.shape:
            shape = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"no tensor but a {type(found).__name__}"
            raise IntegrationError(
                f"the slope f(t, y) of odeint has {shape}, and y0 has shape {tuple(value.shape)}. They must be the same: use "
                "torch.stack for the slopes of single numbers."
            )
        return found

    control = Control(slope, times, sign, float(rtol), float(atol))
    with torch.no_grad():  # sizes are constants
        state = control.start(y0.detach(), slope(times[0], y0.detach()))
    plain = is_explaining() or (current_roller() is None and not dispatch_modes())
    if plain and not is_batched(state.slope) and not is_batched(y0):
        return _one_by_one(control, state, y0, most)

    def choose(state: Any, _: None) -> tuple[IntegratorState, tuple[Tensor, Tensor, Tensor]]:
        after, h = control.step(IntegratorState(*state))
        return after, (state[0], h, after.passed)

    def take(value: Tensor, step: Any) -> tuple[Tensor, Tensor]:
        time, h = step
        after, _ = advance(slope, time, value, h, slope(time, value))
        return after, after

    with torch.no_grad():
        _, (starts, sizes, passed) = scan(choose, state, length=most)
    _, path = scan(take, y0, (starts, sizes))
    # The first step after which a time is passed ends there.
    wanted = torch.arange(2, len(times) + 1, device=times.device).unsqueeze(1)
    places = (passed.unsqueeze(0) < wanted).sum(1)
    rows = path.index_select(0, places.clamp(max=most - 1))
    reached = (places < most).reshape(-1, *[1] * y0.dim())
    return torch.cat([y0.unsqueeze(0), torch.where(reached, rows, math.nan)])


def _one_by_one(control: Control, state: IntegratorState, y0: Tensor, most: int) -> Tensor:
    """The solution by as many steps as it needs."""
    times, f = control.times, control.f
    rows = [y0]
    value = y0
    for _ in range(most):
        with torch.no_grad():
            after, h = control.step(state)
            taken = bool(h != 0)
        if taken:
            value = advance(f, state.time, value, h, f(state.time, value))[0] if torch.is_grad_enabled() else after.value
        if after.passed > state.passed:
            rows.append(value)
            if len(rows) == len(times):
                return torch.stack(rows)
        state = after
    raise IntegrationError(
        f"odeint has come to t = {float(state.time):.6g} in {most} steps, of the times up to {float(times[-1]):.6g}; the next "
        f"step would be {2 ** (float(state.exponent) / 8):.2g} long. Allow more steps (max_steps=) or larger errors (rtol=, "
        "atol=); if the equation is stiff, it needs very many."
    )


def _times(t: Tensor, y0: Tensor) -> tuple[Tensor, float]:
    """The times, in the precision of the solution, and the sign of their direction."""
    if not isinstance(y0, Tensor) or not y0.is_floating_point():
        raise IntegrationError("y0 of odeint must be a tensor of floats: the solution at t[0].")
    if not isinstance(t, Tensor) or t.dim() != 1 or len(t) < 2:
        found = f"of shape {tuple(t.shape)}" if isinstance(t, Tensor) else f"a {type(t).__name__}"
        raise IntegrationError(f"t of odeint is {found}, but must be a tensor of at least two times, shape (T,).")
    times = t.detach().to(y0.dtype)
    steps = times.diff()
    for sign in (1.0, -1.0):
        if bool((sign * steps > 0).all()):
            return times, sign
    raise IntegrationError(
        "t of odeint must be strictly increasing or strictly decreasing, in the precision of y0. Sort the times, take each "
        "once, and pick its row from the result."
    )
