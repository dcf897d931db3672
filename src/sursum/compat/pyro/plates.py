"""`plate` with Pyro's signature, with or without a size, and which plates are open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

import sursum as su
from sursum.errors import PlateError
from sursum.handlers import Frame

_OPEN: ContextVar[tuple[plate, ...]] = ContextVar("plates", default=())
_MOST_PLATES = 64
_UNSIZED: ContextVar[tuple[tuple[str, int], ...]] = ContextVar("unsized", default=())
"""The names and dimensions of the open plates without a size, outermost first."""


class plate(su.plate):
    """Independent copies along a dimension; see `sursum.plate`.

    Args:
        name: the plate's name.
        size: the number of copies; None takes that of `subsample`, or, without one, that of each site's distribution or data.
        subsample_size, subsample, dim: as there.
        use_cuda, device: where Pyro would draw the indices; they are drawn on the CPU.

    Example:
        >>> import sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> with pyro.plate("data", 3) as index:
        ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
        >>> x.shape, index
        (torch.Size([3]), tensor([0, 1, 2]))
    """

    def __new__(cls, name: str, size: int | None = None, *args: Any, **kwargs: Any) -> plate:
        """A plate without a size is an `UnsizedPlate`."""
        rows = args[1] if len(args) > 1 else kwargs.get("subsample")
        return object.__new__(UnsizedPlate if cls is plate and size is None and rows is None else cls)

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

    def _free_dim(self) -> int:
        unsized = {dim: name for name, dim in _UNSIZED.get()}
        if self.dim in unsized:
            raise PlateError(f"plates {unsized[self.dim]!r} and {self.name!r} collide at dim {self.dim}. Give one another dim.")
        found = super()._free_dim()
        if self.dim is None and found in unsized:
            tried = self._copy()
            for tried.dim in range(found - 1, -1 - _MOST_PLATES, -1):
                if tried.dim not in unsized:
                    with suppress(PlateError):  # taken by a plate with a size
                        return su.plate._free_dim(tried)
        return found

    def fresh(self) -> Self:
        running = super().fresh()
        _OPEN.set((*_OPEN.get(), running))
        return running

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        _OPEN.set(tuple(one for one in _OPEN.get() if one.origin is not self))
        super().__exit__(kind, error, traceback)


class UnsizedPlate(plate):
    """A plate without a size: at each site it is as long as the site's distribution or its data are there."""

    def __init__(
        self,
        name: str,
        size: None = None,
        subsample_size: int | None = None,
        subsample: None = None,
        dim: int | None = None,
        use_cuda: bool | None = None,
        device: Any = None,
    ) -> None:
        if subsample_size is not None:
            raise PlateError(f"plate {name!r} has a subsample_size and no size: write plate({name!r}, size, subsample_size).")
        super().__init__(name, 0, dim=dim)
        self._tokens: list[Any] = []

    def __repr__(self) -> str:
        return f"plate({self.name!r})"

    def __enter__(self) -> Any:
        self._check_name()
        if self.name in dict(_UNSIZED.get()):
            raise PlateError(f"plate {self.name!r} is opened inside itself. Rename the inner one.")
        self._tokens.append(_UNSIZED.set((*_UNSIZED.get(), (self.name, self._free_dim()))))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        _UNSIZED.reset(self._tokens.pop())

    def __iter__(self) -> Iterator[int]:
        raise PlateError(f"plate {self.name!r} has no size, and cannot be iterated: write plate({self.name!r}, size).")


@contextmanager
def sized(*shapes: Any) -> Iterator[None]:
    """The open plates without a size, for a site with one of these batch shapes, the first that has them."""
    with ExitStack() as stack:
        for name, dim in _UNSIZED.get():
            lengths = [int(shape[dim]) for shape in shapes if len(shape) >= -dim]
            length = next((one for one in lengths if one != 1), lengths[0] if lengths else None)
            if length is not None:
                stack.enter_context(su.plate(name, length, dim=dim))
        yield


def open_plates() -> tuple[Frame, ...]:
    """The plates that are open, outermost first."""
    return tuple(one.frame for one in _OPEN.get())
