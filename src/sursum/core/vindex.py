"""`vindex`: index a table by tensors that are broadcast, also where each is in some plates or has all values of a site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sursum.errors import ArgumentError


def vindex(table: Tensor, index: Any = None) -> Any:
    r"""A table indexed by broadcasting: every index is a tensor over batch dimensions, and slices are what is left.

    .. math:: \mathrm{out}[\dots, :] = \mathrm{table}[i[\dots], :, j[\dots], \dots]

    With torch's own indexing the result depends on where slices stand between indices; here batch dimensions are always
    leftmost and the dimensions of slices rightmost, so that indices may be in plates, or have all values of a discrete site.

    Args:
        table: the tensor to be indexed.
        index: integers, tensors of integers and ``:``, one for each dimension of the table; a leading ``...`` indexes batch
            dimensions of the table by their own elements. None returns an object that is indexed: ``vindex(table)[i, :, j]``.

    Raises:
        ArgumentError: an index of another kind, or too many.

    Example:
        >>> table = torch.arange(24).reshape(2, 3, 4)
        >>> i, j = torch.tensor([[0], [1]]), torch.tensor([0, 2, 3])
        >>> vindex(table)[i, :, j].shape
        torch.Size([2, 3, 3])
        >>> bool((vindex(table)[i, :, j][1, 2] == table[1, :, 3]).all())
        True
    """
    return Vindex(table) if index is None else Vindex(table)[index]


@dataclass(frozen=True)
class Vindex:
    """A table that is indexed by broadcasting; see `vindex`.

    Example:
        >>> Vindex(torch.arange(6).reshape(2, 3))[torch.tensor([1, 0]), 2]
        tensor([5, 2])
    """

    table: Tensor

    def __getitem__(self, index: Any) -> Tensor:
        parts = list(index) if isinstance(index, tuple) else [index]
        leading = bool(parts) and parts[0] is Ellipsis
        parts = parts[1:] if leading else parts
        rest = self.table.dim() - len(parts)
        if rest < 0 or any(part is Ellipsis for part in parts):
            raise ArgumentError(
                f"vindex of a table of shape {tuple(self.table.shape)} got {len(parts)} indices. At most one for each "
                "dimension was "
                "expected, with `...` only first."
            )
        if not leading:
            parts, rest = [*parts, *[slice(None)] * rest], 0
        kept = [place for place, part in enumerate(parts) if isinstance(part, slice)]
        for place, part in enumerate(parts):
            if isinstance(part, slice) and part != slice(None):
                raise ArgumentError(f"vindex takes `:` as its only slice, and got {part}. Select a part of the table before.")
            if not isinstance(part, (slice, int)) and not (isinstance(part, Tensor) and not part.is_floating_point()):
                kind = f"a tensor of {part.dtype}" if isinstance(part, Tensor) else f"a {type(part).__name__}"
                raise ArgumentError(
                    f"index {place} of vindex is {kind}. An integer, a tensor of them, or `:` was expected: k.long()."
                )
        full: list[Any] = []
        for place in range(rest):  # batch dimensions of the table, by their own elements
            size = self.table.shape[place]
            shape = [1] * (rest + len(kept))
            shape[place] = size
            full.append(torch.arange(size, device=self.table.device).reshape(shape))
        events = 0
        for part in parts:
            if isinstance(part, slice):
                size = self.table.shape[len(full)]
                shape = [1] * (len(kept) - events)
                shape[0] = size
                full.append(torch.arange(size, device=self.table.device).reshape(shape))
                events += 1
            elif isinstance(part, Tensor):
                full.append(part.reshape(part.shape + (1,) * len(kept)))
            else:
                full.append(part)
        return self.table[tuple(full)]
