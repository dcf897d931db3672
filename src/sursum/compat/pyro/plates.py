"""`plate` with Pyro's signature, and which plates are open."""

from __future__ import annotations

from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

import sursum as su
from sursum.errors import PlateError
from sursum.handlers import Frame

_OPEN: ContextVar[tuple[plate, ...]] = ContextVar("plates", default=())


class plate(su.plate):
    """Independent copies along a dimension; see `sursum.plate`.

    Args:
        name: the plate's name.
        size: the number of copies; None takes that of `subsample`.
        subsample_size, subsample, dim: as there.
        use_cuda, device: where Pyro would draw the indices; they are drawn on the CPU.

    Example:
        >>> import sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> with pyro.plate("data", 3) as index:
        ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
        >>> x.shape, index
        (torch.Size([3]), tensor([0, 1, 2]))
    """

    def __init__(
        self,
        name: str,
        size: int | None = None,
        subsample_size: int | None = None,
        subsample: Tensor | None = None,
        dim: int | None = None,
        use_cuda: bool | None = None,
        device: Any = None,
    ) -> None:
        if size is None:
            if subsample is None:
                raise PlateError(f"plate {name!r} has no size: write plate({name!r}, size).")
            size = len(subsample)
        if isinstance(subsample, (list, tuple, range)):
            subsample = torch.tensor(list(subsample))
        super().__init__(name, size, subsample_size, subsample, dim)

    @property
    def subsample_size(self) -> int:
        """How many copies are present."""
        return self.size if self.indices is None else len(self.indices)

    def fresh(self) -> Self:
        running = super().fresh()
        _OPEN.set((*_OPEN.get(), running))
        return running

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        _OPEN.set(tuple(one for one in _OPEN.get() if one.origin is not self))
        super().__exit__(kind, error, traceback)


def open_plates() -> tuple[Frame, ...]:
    """The plates that are open, outermost first."""
    return tuple(one.frame for one in _OPEN.get())
