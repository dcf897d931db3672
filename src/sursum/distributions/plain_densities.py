"""Log densities that are a few operators of torch's, the same whatever their numbers: no Python looks at one."""

from __future__ import annotations

from typing import Any

import torch.distributions as td
from torch import Tensor

from sursum.common.precision import leaves_doubles, without_modes
from sursum.distributions import standard
from sursum.distributions.fluent import Independent
from sursum.distributions.rebuild import tensors, without_checks

_NAMES = ("Cauchy", "Exponential", "Gamma", "HalfCauchy", "HalfNormal", "Laplace", "Normal", "Poisson", "StudentT")

FAMILIES: frozenset[type] = frozenset(getattr(module, name) for module in (td, standard) for name in _NAMES)
"""The families that have one."""


def is_plain(fn: Any) -> bool:
    """Whether a distribution, or the one of each element of an `Independent` one, has such a log density.

    >>> is_plain(standard.Normal(0.0, 1.0).expand([3]).to_event(1)), is_plain(standard.Beta(2.0, 3.0))
    (True, False)
    """
    while type(fn) in (td.Independent, Independent) and "log_prob" not in vars(fn):
        fn = fn.base_dist
    return type(fn) in FAMILIES and "log_prob" not in vars(fn)


def log_density(fn: Any, value: Any) -> Tensor:
    """The log density of a distribution whose arguments and value have been checked.

    Of doubles a plain one is run outside of the modes of double precision, which would leave it as it is.
    """
    found: Tensor
    if is_plain(fn) and leaves_doubles((*tensors(fn), value)):
        with without_modes():
            found = without_checks(fn).log_prob(value)
        return found
    found = without_checks(fn).log_prob(value)
    return found
