"""The error for an index out of range."""

from __future__ import annotations

import re

from sursum.common.user_frame import raising_line
from sursum.core.messages import Site
from sursum.errors import OutOfRangeError

_TORCH_SAYS = re.compile(
    r"index -?\d+ is out of bounds for dimension|index -?\d+ out of range for tensor|index out of range in self"
    r"|tried to access index|Target -?\d+ is out of bounds|target'? (is )?out of range|sorter index out of range"
    r"|invalid max index|not in the valid range|Class values must be"
)


def outside(error: Exception, site: Site | None = None, after: str | None = None) -> OutOfRangeError | None:
    """What to raise instead of `error`, if torch raised it for an index out of range.

    Args:
        error: the error that was raised.
        site: the site that was being scored; None while the program ran.
        after: the last site that the program reached.

    Example:
        >>> import torch
        >>> try:
        ...     torch.zeros(3)[torch.tensor([3])]
        ... except IndexError as error:
        ...     print(type(outside(error)).__name__)
        OutOfRangeError
    """
    said = str(error)
    if isinstance(error, OutOfRangeError) or not _TORCH_SAYS.search(said):
        return None
    line = raising_line(error)
    last = f"after site {after!r}" if after is not None else None
    where = ", ".join(filter(None, (line, last)))
    place = f" at site {site}" if site is not None else f" ({where})" if where else ""
    return OutOfRangeError(
        f"an index is out of range{place}; torch says: {said.splitlines()[0]}. Indices count from 0. If it is "
        "computed from the unknowns, bound it, k.clamp(0, n - 1); if it is data, find the element that is out of range."
    )
