"""torch's constraints, sursum's, and Pyro's names of them."""

from torch.distributions.constraints import *  # noqa: F403

import sursum.distributions.constraints as ours
from sursum.compat.pyro._refuse import refusing
from sursum.distributions.constraints import *  # noqa: F403
from sursum.distributions.constraints import softplus_positive

SoftplusPositive = type(softplus_positive)

__all__ = [*ours.__all__]

__getattr__ = refusing(
    "pyro.distributions.constraints",
    __all__,
    {
        "unit_lower_cholesky": "a lower Cholesky factor and its diagonal are two parameters",
    },
)
