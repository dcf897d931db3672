"""`plate`: conditionally independent copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor

from sursum.caller import calling_line
from sursum.distributions.subsample import Subsample
from sursum.errors import PlateError
from sursum.messages import Frame, Sample
from sursum.runtime import Messenger, current_generator, open_plates, perform


class plate(Messenger):
    r"""Independent copies along a dimension: :math:`\log p = \frac{N}{B} \sum_{i \in batch} \log p(x_i)`.

    Sites inside are expanded to the plate's size along its dimension; subsampled, they are scaled by N / B so that the
    log density stays unbiased. As an iterator, ``for i in plate("data", 3)``, it is a sequential plate.

    Args:
        name: the plate's name.
        size: the number N of copies.
        subsample_size: the number B of copies to draw without replacement in each execution.
        subsample: the indices of the copies that are present, instead of drawing them.
        dim: its dimension, negative, counted from the right of batch shapes; None takes the first free one.

    Returns:
        In ``with plate(…) as indices:`` the indices of the present copies, an integer tensor.

    Raises:
        PlateError: a size, a dim or a subsample that cannot be; a dim or a name that an open plate has already.

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
        self.name, self.size, self.dim, self.where = name, int(size), dim, calling_line()
        here = f"plate {name!r} ({self.where})"
        if self.size < 0:
            raise PlateError(f"{here} has size {size}. It must be 0 or more.")
        if dim is not None and dim >= 0:
            raise PlateError(f"{here} has dim {dim}. Plates count from the right: use a negative dim, such as -1.")
        if subsample is not None:
            self.indices: Tensor | None = torch.as_tensor(subsample)
            if subsample_size not in (None, len(self.indices)):
                raise PlateError(
                    f"{here} has {len(self.indices)} indices in `subsample`, but subsample_size {subsample_size}. "
                    "Give one of the two."
                )
        elif subsample_size is None or subsample_size == self.size:
            self.indices = None
        elif not 0 < subsample_size < self.size:
            raise PlateError(f"{here} cannot draw subsample_size {subsample_size} out of size {size}.")
        else:
            site = Sample(
                name=name,
                fn=Subsample(self.size, subsample_size),
                infer={"is_subsample": True},
                generator=current_generator(),
                where=self.where,
            )
            self.indices = perform(site).value

    def fresh(self) -> Self:
        """A copy with its dimension chosen, and checked against the plates that are open."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.origin = self
        copy.dim = self._free_dim()
        return copy

    @property
    def frame(self) -> Frame:
        return Frame(self.name, self.dim, self.size, self.indices)

    def _free_dim(self) -> int:
        taken = {frame.dim: frame for frame in open_plates()}
        clash = next((frame for frame in taken.values() if frame.name == self.name), taken.get(self.dim))
        if self.dim is None and clash is None:
            return next(dim for dim in range(-1, -2 - len(taken), -1) if dim not in taken)
        if clash is None and self.dim is not None:
            return self.dim
        assert clash is not None
        if clash.name == self.name:
            raise PlateError(
                f"plate {self.name!r} ({self.where}) is opened inside itself. Give the inner one its own name."
            )
        raise PlateError(
            f"plates {clash.name!r} and {self.name!r} ({self.where}) collide at dim {self.dim}. "
            "Give one of them another dim, or leave dim out to have a free one chosen."
        )

    def __enter__(self) -> Tensor:
        super().__enter__()
        return torch.arange(self.size) if self.indices is None else self.indices

    def __iter__(self) -> Iterator[int]:
        present = range(self.size) if self.indices is None else self.indices.tolist()
        for i in present:
            with _Sequential(self):
                yield i

    def __len__(self) -> int:
        return self.size if self.indices is None else len(self.indices)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """``plate(…)(fn)``: `fn` run inside the plate."""
        (fn,) = args

        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return fn(*args, **kwargs)

        return inside


class _Sequential(Messenger):
    """One step of a plate used as an iterator: no dimension, but the same scale."""

    def __init__(self, owner: plate) -> None:
        super().__init__()
        self.owner = owner

    def fresh(self) -> Self:
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.origin = self
        return copy

    @property
    def frame(self) -> Frame:
        return Frame(self.owner.name, None, self.owner.size, self.owner.indices)
