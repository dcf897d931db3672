"""torch's constraints, sursum's, and Pyro's names of them."""

from torch.distributions.constraints import *  # noqa: F403
from torch.distributions.constraints import Constraint, lower_cholesky, positive

import sursum.distributions.constraints as ours
from sursum.compat.pyro._refuse import refusing
from sursum.distributions.constraints import *  # noqa: F403
from sursum.distributions.constraints import ordered


class SoftplusPositive(type(positive)):  # type: ignore[misc]
    """The positive numbers; in files their coordinates are those of softplus."""


ordered_vector = ordered
softplus_positive = SoftplusPositive(0.0)
softplus_lower_cholesky = lower_cholesky

__all__ = ["Constraint", "ordered_vector", "softplus_lower_cholesky", "softplus_positive", *ours.__all__]

__getattr__ = refusing(
    "pyro.distributions.constraints",
    __all__,
    {
        "unit_lower_cholesky": "a lower Cholesky factor and its diagonal are two parameters",
        "sphere": "draw a normal vector and divide it by its norm",
    },
)
