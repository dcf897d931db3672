"""How large a whole matrix of second derivatives may be."""

from __future__ import annotations

from sursum.errors import OptimisationError

LARGEST = 8000
"""The largest number of unknowns of which a whole matrix is kept."""


def check_size(n: int) -> None:
    """That a whole matrix of n unknowns can be kept.

    Raises:
        OptimisationError: it is too large.

    Example:
        >>> check_size(8000)
    """
    if n > LARGEST:
        raise OptimisationError(
            f"the program has {n} unknowns, whose whole matrix would take {8e-9 * n * n:.3g} GB: at most {LARGEST} unknowns "
            'are allowed. For `Laplace` give `structure="diag"`, or "kron" for the layers of a network, or a `subnetwork`; or '
            "lift fewer parameters, such as those of the last layer."
        )
