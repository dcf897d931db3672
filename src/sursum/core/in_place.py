"""The error for a site whose value the program changes in place after it was drawn."""

from __future__ import annotations

import re

from torch import Tensor

from sursum.common.torch_private import DisableTorchFunction
from sursum.common.user_frame import raising_line
from sursum.core.messages import Site
from sursum.errors import SiteError

_TORCH_SAYS = re.compile(r"leaf Variable that requires grad .*in-place operation|modified by an inplace operation")
_INSTEAD = (
    "The value that was drawn is scored and reported, so the program must not modify it. "
    "Write v = v + 1 instead of v += 1, or modify a copy, v = v.clone()."
)


def in_place(error: Exception) -> SiteError | None:
    """What to raise instead of `error`, if torch raised it because a site's value was changed in place.

    Example:
        >>> import torch
        >>> try:
        ...     torch.zeros(3, requires_grad=True).add_(1)
        ... except RuntimeError as error:
        ...     print(type(in_place(error)).__name__)
        SiteError
    """
    if not _TORCH_SAYS.search(str(error)):
        return None
    line = raising_line(error)
    return SiteError(f"the value of a site is changed in place{f' ({line})' if line is not None else ''}. {_INSTEAD}")


def changed_in_place_error(site: Site) -> SiteError:
    """The error for a site whose value has changed by the end of the program."""
    return SiteError(f"the value of site {site} was changed in place after the site. {_INSTEAD}")


def version(value: object) -> int | None:
    """How often a tensor has been written to; None where torch does not count that."""
    if not isinstance(value, Tensor):
        return None
    with DisableTorchFunction():  # asked of every site, and nothing that a mode would answer
        return None if value.is_inference() else value._version
