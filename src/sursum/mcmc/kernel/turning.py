"""When a trajectory turns back on itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def turns(sum_a: Array, sum_b: Array, ends_a: tuple[Array, Array], ends_b: tuple[Array, Array]) -> bool:
    r"""Whether the trajectory of b after a turns back.

    It continues while :math:`r \cdot p > 0` with the sum r of its momenta and both momenta p at its ends (Betancourt 2017,
    A.4.2); and while the same holds of a with the first point of b, and of b with the last point of a, without which a
    trajectory as long as a period would not be seen.

    Args:
        sum_a, sum_b: the sums of the momenta.
        ends_a, ends_b: the first and the last momentum of each.

    Example:
        >>> one = np.ones(1)
        >>> turns(one, one, (one, one), (one, one)), turns(one, -2 * one, (one, one), (-2 * one, -2 * one))
        (False, True)
    """
    (first_a, last_a), (first_b, last_b) = ends_a, ends_b
    checks = ((sum_a + sum_b, first_a, last_b), (sum_a + first_b, first_a, first_b), (sum_b + last_a, last_a, last_b))
    return not all(total @ left > 0.0 and total @ right > 0.0 for total, left, right in checks)
