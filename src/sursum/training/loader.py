"""Batches from a data loader, epoch after epoch, in an order that comes from the seed of the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, DistributedSampler, StackDataset, Subset, TensorDataset

from sursum.common.batches import as_arguments
from sursum.common.torch_private import tree_leaves
from sursum.errors import CallError
from sursum.training import seeds


def is_loader(value: Any) -> bool:
    """Whether an argument stands for batches: a `DataLoader`, or an iterable that is not itself data.

    Example:
        >>> is_loader(iter([1])), is_loader([1]), is_loader(torch.ones(2))
        (True, False, False)
    """
    if isinstance(value, DataLoader):
        return True
    data = isinstance(value, (Tensor, str, bytes, Sequence, dict, set, torch.nn.Module)) or hasattr(value, "__array__")
    return isinstance(value, Iterable) and not data and not callable(value)


def own_generators(loader: Any) -> list[torch.Generator]:
    """The generators that shuffle a `DataLoader` and are not torch's global one.

    Example:
        >>> generator = torch.Generator()
        >>> own_generators(DataLoader([1, 2], shuffle=True, generator=generator)) == [generator]
        True
    """
    samplers = [getattr(loader, name, None) for name in ("sampler", "batch_sampler")]
    owners = [loader, *samplers, *(getattr(one, "sampler", None) for one in samplers)] if isinstance(loader, DataLoader) else []
    found = [one for owner in owners if isinstance(one := getattr(owner, "generator", None), torch.Generator)]
    return list({id(one): one for one in found}.values())


def count_rows(loader: Any) -> float | None:
    """How many rows one epoch has; None if that is not known. Of a sampler that has a part of the rows it is that part exactly,
    and not with the rows that it repeats to be as long as others."""
    if isinstance(sampler := getattr(loader, "sampler", None), DistributedSampler):
        return len(sampler.dataset) / sampler.num_replicas  # type: ignore[arg-type]
    for of in ("sampler", "dataset") if isinstance(loader, DataLoader) else ("",):
        if of == "sampler" and getattr(loader, "batch_size", None) is None:
            continue
        try:
            rows = len(getattr(loader, of)) if of else None
        except TypeError:
            continue
        if rows is not None:
            return rows
    return None


def describe(loader: Any, first: tuple[Any, ...]) -> Any:
    """What is known of the data of a loader without going through them, to compare them with those of another process: what
    its dataset holds in memory, how many rows a batch has, where it says so, and dtype and number of dimensions of the tensors
    of the first one, whose lengths may be others the next time.

    Example:
        >>> a, b = (DataLoader(TensorDataset(torch.full((3,), value)), batch_size=2) for value in (1.0, 2.0))
        >>> describe(a, (torch.ones(2),))
        [(tensor([1., 1., 1.]),), 2, [(torch.float32, 1)]]
        >>> torch.equal(describe(b, (torch.ones(2),))[0][0], torch.full((3,), 2.0))
        True
    """
    shapes = [(part.dtype, len(part.shape)) for part in tree_leaves(first) if hasattr(part, "shape")]
    return [_held(getattr(loader, "dataset", None)), getattr(loader, "batch_size", None), shapes]


def _held(dataset: Any) -> Any:
    """The data that a dataset has in memory; None where they may come from elsewhere, or be others each time."""
    if isinstance(dataset, TensorDataset):
        return dataset.tensors
    if isinstance(dataset, StackDataset):
        parts = dataset.datasets
        return {name: _held(one) for name, one in parts.items()} if isinstance(parts, dict) else [_held(one) for one in parts]
    if isinstance(dataset, ConcatDataset):
        return [_held(one) for one in dataset.datasets]
    if isinstance(dataset, Subset):
        return _held(dataset.dataset), list(dataset.indices)
    return dataset if isinstance(dataset, (Tensor, np.ndarray, list, tuple)) else None


class Batches:
    """The batches of a loader as arguments of a program.

    Args:
        loader: iterated again for each epoch. What it draws from torch's global generator comes from (seed, epoch), and the
            generator itself is left alone. A generator of its own, which shuffles it, goes on from epoch to epoch.
        seed: of the run.
        taken: how many batches earlier runs have taken: they are passed over, so that a resumed run has the same batches.
    """

    def __init__(self, loader: Iterable[Any], seed: int, taken: int = 0) -> None:
        self._loader, self._seed, self._epoch = loader, seed, 0
        self._left: Iterator[Any] | None = None
        self._state: Tensor | None = None  # of the global generator, inside the epoch
        self._again = iter(loader) is not loader if not isinstance(loader, DataLoader) else True
        try:
            length = len(loader)  # type: ignore[arg-type]
        except TypeError:
            length = 0
        self._own = [(one, one.get_state()) for one in own_generators(loader)]
        if self._again and length and not self._own:  # otherwise what it draws depends on all that it has drawn
            self._epoch, taken = divmod(taken, length)
        elif not self._again:
            taken = 0  # an iterator continues where it is
        self._first: tuple[Any, ...] | None = None
        for _ in range(taken):
            self.take()

    @property
    def repeats(self) -> bool:
        """Whether the loader can be iterated again."""
        return self._again

    def from_the_start(self, seed: int, taken: int) -> Batches:
        """The batches of the same loader, as it was before any of these, after `taken` of them in a run of this seed."""
        for generator, state in self._own:
            generator.set_state(state)
        return Batches(self._loader, seed, taken)

    def peek(self) -> tuple[Any, ...]:
        """The next batch, which `take` gives after that."""
        self._first = self.take()
        return self._first

    def take(self) -> tuple[Any, ...]:
        """The next batch.

        Raises:
            CallError: an iterator has no more batches, or the loader has none.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        found = self._next()
        if found is None:
            if not self._again:
                raise CallError(
                    "the iterator of batches has ended before the last step. Give a data loader, which can be iterated again, "
                    "or ask for as many steps as it has batches."
                )
            self._epoch, self._left = self._epoch + 1, None
            found = self._next()
        if found is None:
            raise CallError("the data loader has no batches, so there is nothing to train on.")
        return as_arguments(found[0])

    def _next(self) -> tuple[Any] | None:
        with self._generator():
            if self._left is None:
                self._left = iter(self._loader)
            try:
                return (next(self._left),)
            except StopIteration:
                return None

    @contextmanager
    def _generator(self) -> Iterator[None]:
        """Torch's global generator as this epoch has it, restored afterwards."""
        before = torch.get_rng_state()
        if self._left is None:
            torch.manual_seed(seeds.derive(self._seed, seeds.EPOCH, self._epoch))
        elif self._state is not None:
            torch.set_rng_state(self._state)
        try:
            yield
        finally:
            self._state = torch.get_rng_state()
            torch.set_rng_state(before)
