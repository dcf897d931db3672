"""Priors by rule: callables for `lift`, each of which a user could have written."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.improper import ImproperUniform


def flat(init: Tensor | None = None, *, constraint: constraints.Constraint = constraints.real) -> ImproperUniform:
    r"""The improper prior that is constant on the parameter's constraint: the posterior is the normalised likelihood.

    Example:
        >>> import sursum as su, torch
        >>> model = lambda: su.param("s", torch.tensor(1.0), constraint=su.distributions.constraints.positive)
        >>> su.poutine.substitute(su.lift(model, su.priors.flat), data={"s": torch.tensor(2.0)})()
        tensor(2.)
    """
    shape = () if init is None else tuple(init.shape)
    return ImproperUniform(constraint, event_shape=shape[len(shape) - constraint.event_dim :])
