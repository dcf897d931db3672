"""`logp`: a log density of tensors, as a program."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.shown import abbreviate
from sursum.common.user_frame import calling_line
from sursum.core.primitives import factor, param
from sursum.distributions.improper import ImproperUniform
from sursum.distributions.supports import may_start
from sursum.errors import SiteError
from sursum.handlers.lift.lift import lift

Constraint = constraints.Constraint


def logp(
    fn: Callable[..., Tensor],
    init: Any,
    support: Constraint | Mapping[str, Constraint] | None = None,
    *,
    name: str = "x",
) -> lift:
    r"""The program whose log density is a function of a tensor, or of several: for every method that takes a program.

    .. math:: \log p(x) = fn(x, \ldots) + const

    Its sites have flat priors on their supports, and `fn` is all of the density; the log-Jacobians of supports are added where
    a method needs them. It may be normalised or not, and may record `deterministic` sites.

    Args:
        fn: from a tensor like `init`, or where `init` is a mapping from a dictionary of tensors, and from the arguments of the
            program, to the log density, a tensor of one element.
        init: where to start, which also says how many elements there are: a tensor, an array, numbers; or a mapping from names
            of sites to such. Numbers of Python are doubles.
        support: the set of values, or a mapping from names to sets; real numbers where nothing is said.
        name: the name of the site where `init` is not a mapping.

    Returns:
        A program whose arguments are those of `fn` after the first.

    Raises:
        SiteError: `init` has no numbers, or lies outside the support; a support for a name that does not exist. When the
            program is run: `fn` does not return a tensor of one element.

    Example:
        >>> import sursum as su, torch
        >>> ring = su.logp(lambda x, radius: -0.5 * ((x.norm() - radius) / 0.1) ** 2, init=torch.tensor([1.0, 0.0]))
        >>> density = su.compile(ring, 2.0)
        >>> value, gradient = density.value_and_grad([0.0, 2.1])
        >>> round(value, 3), gradient.round(3).tolist()
        (-0.5, [-0.0, -10.0])
    """
    if not callable(fn):
        raise SiteError(f"logp ({calling_line()}) takes a function, and got {abbreviate(fn)}: su.logp(fn, init).")
    single = not isinstance(init, Mapping)
    given: Mapping[str, Any] = {name: init} if single else init
    starts = {name: _start(name, value) for name, value in given.items()}
    if not starts:
        raise SiteError(f"logp ({calling_line()}) has no sites: give `init` a tensor, or tensors by name.")
    supports = _supports(starts, support)
    for site, start in starts.items():
        if not bool(may_start(supports[site], start).all()):
            raise SiteError(
                f"the value that site {site!r} starts from ({calling_line()}) lies outside its support {supports[site]!r}: "
                f"{abbreviate(start.tolist())}. Start inside."
            )
    return lift(_Plain(fn, starts, supports, single), _flat)


class _Plain:
    """The program: parameters of these values, and a factor of them."""

    def __init__(
        self, fn: Callable[..., Any], starts: Mapping[str, Tensor], supports: Mapping[str, Constraint], single: bool
    ) -> None:
        self.fn_of_values, self.starts, self.supports, self.single = fn, starts, supports, single
        self.__name__ = self.__qualname__ = f"logp({getattr(fn, '__name__', type(fn).__name__)})"

    def __repr__(self) -> str:
        return self.__name__

    @property
    def __signature__(self) -> inspect.Signature:
        """That of the function, without the values; of one that has none, any arguments."""
        try:
            known = list(inspect.signature(self.fn_of_values).parameters.values())
        except (TypeError, ValueError):
            known = []
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        if known and known[0].kind in kinds:
            return inspect.Signature(known[1:])
        any_args = inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)
        return inspect.Signature([any_args, inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)])

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        values = {name: param(name, start, self.supports[name]) for name, start in self.starts.items()}
        found = self.fn_of_values(next(iter(values.values())) if self.single else values, *args, **kwargs)
        if isinstance(found, Tensor) and found.numel() == 1:
            factor("log_density", found.reshape(()))
            return
        what = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else abbreviate(found)
        raise SiteError(
            f"{self.__name__}: the function returned {what}. A tensor of one element was expected, computed by torch from the "
            "values that it was passed: sum over the terms. Where torch does not compute it, give su.ops.external(fn)."
        )


def _flat(init: Tensor, *, constraint: Constraint) -> ImproperUniform:
    shape = tuple(init.shape)
    return ImproperUniform(constraint, event_shape=shape[len(shape) - constraint.event_dim :])


def _start(name: Any, value: Any) -> Tensor:
    if not isinstance(name, str):
        raise SiteError(f"the names of the values that logp starts from ({calling_line()}) are strings, but one is {name!r}.")
    try:
        found = torch.as_tensor(value).detach()
        if not hasattr(value, "dtype"):
            found = found.to(torch.float64)  # numbers of Python are doubles
    except (TypeError, ValueError, RuntimeError) as error:
        raise SiteError(
            f"the value that site {name!r} starts from ({calling_line()}) is {abbreviate(value)}. A tensor, an array or a "
            f"number was expected: {error}."
        ) from error
    if found.is_complex() or found.dtype is torch.bool or found.numel() == 0:
        raise SiteError(
            f"the value that site {name!r} starts from ({calling_line()}) has dtype {found.dtype} and shape "
            f"{tuple(found.shape)}. Real numbers were expected, at least one."
        )
    return found.clone() if found.is_floating_point() else found.to(torch.float64)


def _supports(starts: Mapping[str, Tensor], support: Any) -> dict[str, Constraint]:
    given = support if isinstance(support, Mapping) else dict.fromkeys(starts, constraints.real if support is None else support)
    unknown = [name for name in given if name not in starts]
    if unknown:
        raise SiteError(
            f"logp ({calling_line()}) has a support for {unknown[0]!r}, but no site of that name: its sites are "
            f"{', '.join(map(repr, starts))}."
        )
    for name, one in given.items():
        if not isinstance(one, Constraint):
            raise SiteError(
                f"the support of site {name!r} ({calling_line()}) is {abbreviate(one)}, but must be one of "
                "`sursum.distributions.constraints`, such as `constraints.positive`."
            )
    return {name: given.get(name, constraints.real) for name in starts}
