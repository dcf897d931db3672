"""`plate`: conditionally independent copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import torch
from torch import Tensor

from sursum.common.precision import is_traced
from sursum.common.shown import abbreviate
from sursum.common.user_frame import calling_line
from sursum.core.arguments import as_data
from sursum.core.calling import refuse_coroutines
from sursum.core.messages import Frame, Sample
from sursum.core.runtime import Messenger, perform
from sursum.core.scope import InFrame, at_site, current_generator, full_name, open_plates, reopen
from sursum.distributions.subsample import Subsample
from sursum.errors import PlateError


class plate(Messenger):
    r"""Independent copies along a dimension: :math:`\log p = \frac{N}{B} \sum_{i \in batch} \log p(x_i)`.

    Sites inside are expanded to the plate's size along its dimension; under subsampling they are scaled by N / B so that the
    log density stays unbiased. As an iterator, ``for i in plate("data", 3)``, it is a sequential plate.

    Args:
        name: the plate's name.
        size: the number N of copies.
        subsample_size: the number B of copies to draw without replacement, once per plate object: make the plate
            inside the program to draw new ones in each execution.
        subsample: the indices of the copies that are present, instead of drawing them.
        dim: its dimension, negative, counted from the right of batch shapes; None takes the first free one.

    Returns:
        In ``with plate(…) as indices:`` the indices of the present copies, an integer tensor.

    Raises:
        PlateError: an invalid size, dim or subsample; a dim or a name that an open plate already has.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> with su.plate("groups", 3) as indices:
        ...     x = su.sample("x", dist.Normal(0.0, 1.0))
        >>> x.shape, indices
        (torch.Size([3]), tensor([0, 1, 2]))
    """

    def __init__(
        self,
        name: str,
        size: int,
        subsample_size: int | None = None,
        subsample: Tensor | None = None,
        dim: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(name, str) or isinstance(size, str):
            raise PlateError(
                f"a plate takes a name and a size, plate('data', 100), but got {abbreviate(name)}, {abbreviate(size)}."
            )
        self.name, self.size, self.dim, self.where = name, int(size), dim, calling_line()
        here = f"plate {name!r} ({self.where})"
        if self.size < 0 or self.size != size:
            raise PlateError(f"{here} has size {size}. It must be an integer of at least 0.")
        if dim is not None and dim >= 0:
            raise PlateError(f"{here} has dim {dim}. Plates count from the right: use a negative dim, such as -1.")
        self.indices: Tensor | None = None
        if subsample is not None:
            self.indices = torch.as_tensor(as_data(subsample, lambda: f"the subsample of {here}", PlateError))
            if subsample_size not in (None, self.indices.numel()):
                raise PlateError(
                    f"{here} has {self.indices.numel()} indices in `subsample`, but subsample_size {subsample_size}. "
                    "Give one of the two."
                )
        elif subsample_size is not None and subsample_size != self.size:
            if not 0 < subsample_size < self.size:
                raise PlateError(f"{here} cannot draw subsample_size {subsample_size} out of size {size}.")
            again = reopen(name)
            self.indices = self._draw(subsample_size) if again is None else again.indices
            if self.indices is not None and is_traced(self.indices):
                return  # a step draws them, and gives them as an input
        self._check_indices(here)

    def __repr__(self) -> str:
        present = "" if self.indices is None else f", subsample_size={self.indices.numel()}"
        dim = "" if self.dim is None else f", dim={self.dim}"
        return f"plate({self.name!r}, {self.size}{present}{dim})"

    def _draw(self, count: int) -> Tensor:
        """The indices of the present copies: a site with the plate's name, which handlers may answer."""
        site = Sample(
            name=self.name,
            fn=Subsample(self.size, count),
            infer={"is_subsample": True},
            generator=current_generator(),
            where=self.where,
        )
        with at_site(site):
            indices: Tensor = perform(site).value
        return indices

    def _check_indices(self, here: str) -> None:
        indices = self.indices
        if indices is None:
            return
        if indices.dim() != 1 or indices.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
            raise PlateError(
                f"{here} needs the indices of its subsample as a vector of integers, but got shape {tuple(indices.shape)} "
                f"and {indices.dtype}. From a boolean mask, take mask.nonzero().squeeze(-1)."
            )
        outside = indices[(indices < 0) | (indices >= self.size)]
        if outside.numel() or len(indices.unique()) != len(indices):
            what = f"the index {int(outside[0])}" if outside.numel() else "a repeated index"
            raise PlateError(
                f"{here} has size {self.size}, and its subsample has {what}. Indices are 0 to size - 1, each once."
            )

    def fresh(self) -> Self:
        """A copy with its dimension chosen, and checked against the open plates."""
        self._check_name()
        copy = self._copy()
        copy.origin = self
        again = reopen(self.name)
        if again is None:
            copy.dim = self._free_dim()
        else:
            copy._take(again)
        return copy

    def _take(self, again: Frame) -> None:
        """Become the plate `again`, which contains the parameter whose prior opens this one."""
        others = self.indices is not None and (again.indices is None or not torch.equal(self.indices, again.indices))
        if self.size != again.size or self.dim not in (None, again.dim) or others:
            mine, its = (
                f"size {one.size}, dim {one.dim} and {'all' if one.indices is None else 'some'} of its elements"
                for one in (self, again)
            )
            raise PlateError(
                f"plate {self.name!r} ({self.where}) in a prior has {mine}, and the plate of that name around the parameter "
                f"{its}. To reopen that one write plate({self.name!r}, {again.size}); otherwise use a different name."
            )
        self.dim, self.indices = again.dim, again.indices
        if self.dim is not None:
            self._free_dim()

    def around(self, fn: Callable[..., Any]) -> Self:
        """``plate(…)(fn)``: `fn` run inside the plate."""
        refuse_coroutines(fn)
        copy = self._copy()
        copy.fn = fn
        return copy

    def _copy(self) -> Self:
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        return copy

    def _check_name(self) -> None:
        if full_name(self.name) in {frame.name for frame in open_plates()}:
            raise PlateError(f"plate {self.name!r} ({self.where}) is opened inside itself. Rename the inner one.")

    def _free_dim(self) -> int:
        taken = {frame.dim: frame for frame in open_plates() if frame.dim is not None}
        if self.dim is None:
            return next(dim for dim in range(-1, -2 - len(taken), -1) if dim not in taken)
        if self.dim in taken:
            raise PlateError(
                f"plates {taken[self.dim].name!r} and {self.name!r} ({self.where}) collide at dim {self.dim}. "
                "Give one of them a different dim, or leave dim out of the inner one, to have a free one chosen."
            )
        return self.dim

    @property
    def frame(self) -> Frame:
        return Frame(self.name, self.dim, self.size, self.indices)

    def __enter__(self) -> Tensor:  # type: ignore[override]  # not the handler itself
        indices: Tensor | None = super().__enter__().indices
        return torch.arange(self.size) if indices is None else indices

    def __iter__(self) -> Iterator[int]:
        self._check_name()
        if reopen(self.name) is not None:
            raise PlateError(
                f"plate {self.name!r} ({self.where}) is around the parameter, and a prior can only reopen it as a whole: "
                f"with plate({self.name!r}, {self.size}): …"
            )
        present = range(self.size) if self.indices is None else self.indices.tolist()
        for i in present:
            with InFrame(opened=Frame(self.name, None, self.size, self.indices)):  # no dimension, but the same scale
                yield i

    def __len__(self) -> int:
        return self.size if self.indices is None else len(self.indices)

    def __bool__(self) -> bool:
        return True
