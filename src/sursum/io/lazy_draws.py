"""Draws that stay in their store, and are read on access."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray
from torch import Tensor

from sursum.io.zarr_store import Column, ZarrStore

KEPT = 1 << 24
"""Cache size of a mapping in bytes: small draws are read once; larger ones are read each time."""

ONE_PASS = 1 << 26
"""Bytes that are read at once when an array is traversed in chunks."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class StoredArray(NDArrayOperatorsMixin):
    """An array of a store, (chain, draw, *shape), restricted to some chains and their first draws.

    Indexing by chains and draws reads only those; anything else reads the whole array, and behaves like a NumPy array.
    """

    store: ZarrStore
    table: str
    group: str
    name: str
    chains: tuple[int, ...]
    draws: int

    @cached_property
    def _column(self) -> Column:
        return self.store.column(self.table, self.group, self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.chains), self.draws, *self._column.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._column.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.chains)

    def block(self, begin: int, end: int, chains: Sequence[int] | None = None) -> NDArray[Any]:
        """The draws from `begin` to `end`, of all chains or of those given."""
        chosen = self.chains if chains is None else [self.chains[k] for k in chains]
        return self.store.read(self.table, self.group, self.name, chosen, end, begin)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All draws, in chunks of bounded size: the first ones of all chains, then the next ones, …"""
        step = max(1, ONE_PASS * self.draws // max(1, self.nbytes))
        return (self.block(begin, min(begin + step, self.draws)) for begin in range(0, self.draws, step))

    def rows(self, begin: int, end: int) -> NDArray[Any]:
        """The same with the draws of all chains concatenated: (end − begin, *shape)."""
        parts = []
        while begin < end:
            chain, first = divmod(begin, self.draws)
            last = min(first + end - begin, self.draws)
            parts.append(self.block(first, last, [chain])[0])
            begin += last - first
        return np.concatenate(parts) if parts else np.empty((0, *self._column.shape), self.dtype)

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        if not keys or len(keys) > self.ndim or not all(_is_plain(one) for one in keys[:2]):
            return np.asarray(self)[key]
        chain, draw, *rest = (*keys, slice(None))[: max(2, len(keys))]
        chains, draws = range(len(self.chains))[chain], range(self.draws)[draw]
        numbers = [chains] if isinstance(chains, int) else list(chains)
        wanted = range(draws, draws + 1) if isinstance(draws, int) else draws
        begin, end = (min(wanted), max(wanted) + 1) if wanted else (0, 0)
        part = self.block(begin, end, numbers)[:, :: wanted.step]
        places = (0 if isinstance(chains, int) else slice(None), 0 if isinstance(draws, int) else slice(None))
        return part[(*places, *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        whole = self.block(0, self.draws)
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return getattr(ufunc, method)(*(np.asarray(x) if isinstance(x, StoredArray) else x for x in inputs), **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    def __reduce__(self) -> Any:
        """Pickling and deep copies contain the array itself."""
        return np.asarray, (np.asarray(self),)

    def __repr__(self) -> str:
        return f"<{self.name!r} in {str(self.store.path)!r}: {self.shape} of {self.dtype}>"


class StoredMapping(Mapping[str, T]):
    """Arrays of a store by name, each of them read, and converted by `made`, on access."""

    def __init__(self, arrays: Mapping[str, StoredArray], made: Callable[[StoredArray], T]) -> None:
        self.arrays, self._made = arrays, made
        self._recent: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        array = self.arrays[name]
        known = self._recent.get(name)
        value = self._made(array) if known is None else known
        if known is None and array.nbytes <= KEPT:
            size = array.nbytes + sum(self.arrays[kept].nbytes for kept in list(self._recent))
            for kept in list(self._recent):
                if size > KEPT and self._recent.pop(kept, None) is not None:
                    size -= self.arrays[kept].nbytes
            self._recent[name] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def __reduce__(self) -> Any:
        """Pickling and deep copies contain the draws themselves."""
        return dict, (dict(self),)

    def __repr__(self) -> str:
        return f"<stored: {', '.join(f'{name} {array.shape}' for name, array in self.arrays.items())}>"


class StoredArrays(StoredMapping[NDArray[Any]]):
    """Statistics of the sampler, (chain, draw)."""

    def __init__(self, arrays: Mapping[str, StoredArray]) -> None:
        super().__init__(arrays, np.asarray)


class StoredSites(StoredMapping[Tensor]):
    """Draws of sites: (chain, draw, *shape) or, if `flat`, those of the only chain, (draw, *shape)."""

    def __init__(self, arrays: Mapping[str, StoredArray], flat: bool = False) -> None:
        super().__init__(arrays, lambda array: torch.from_numpy(array[0] if flat else np.asarray(array)))
        self.flat = flat

    def only(self, names: Iterable[str], *, flat: bool = False) -> StoredSites:
        """The sites of these names."""
        return StoredSites({name: self.arrays[name] for name in names}, flat)


class ComputedSites(Mapping[str, Tensor]):
    """Draws of sites that are computed, all of them, when the first is read.

    Example:
        >>> sites = ComputedSites(["s"], lambda: {"s": torch.zeros(1, 3), "t": torch.ones(1, 3)})
        >>> list(sites), sites["s"].shape
        (['s'], torch.Size([1, 3]))
    """

    def __init__(self, names: Sequence[str], compute: Callable[[], Mapping[str, Tensor]]) -> None:
        self.names, self._compute = tuple(names), compute

    @cached_property
    def _sites(self) -> dict[str, Tensor]:
        found = self._compute()
        del self._compute  # and what it refers to
        return {name: found[name] for name in self.names}

    def __getitem__(self, name: str) -> Tensor:
        return self._sites[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __reduce__(self) -> Any:
        """Pickling and deep copies contain the draws themselves."""
        return dict, (dict(self._sites),)


@dataclass(frozen=True, eq=False)
class LazyRows:
    """Draws of a site, all chains concatenated, that can be sliced like a tensor (draw, *shape); read on access."""

    array: StoredArray

    @property
    def shape(self) -> torch.Size:
        chains, draws, *shape = self.array.shape
        return torch.Size([chains * draws, *shape])

    def __getitem__(self, key: int | slice) -> Tensor:
        if isinstance(key, int):
            return torch.from_numpy(self.array.rows(key, key + 1))[0]
        begin, end, step = key.indices(self.shape[0])
        return torch.from_numpy(self.array.rows(begin, end))[::step]


def batches(arrays: Mapping[str, Any], names: Iterable[str] | None = None) -> Iterator[dict[str, NDArray[Any]]]:
    """Arrays by name, those in a store read, as many at once as `ONE_PASS` bytes hold, and at least one."""
    some: dict[str, NDArray[Any]] = {}
    size = 0
    for name in arrays if names is None else names:
        if some and size + arrays[name].nbytes > ONE_PASS:
            yield some
            some, size = {}, 0
        some[name] = np.asarray(arrays[name])
        size += some[name].nbytes
    if some:
        yield some


def shape_of(sites: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """The shape of the draws of a site, without reading them."""
    if isinstance(sites, StoredSites):
        shape = sites.arrays[name].shape
        return shape[1:] if sites.flat else shape
    return tuple(sites[name].shape)


def arrays_of(tensors: Mapping[str, Tensor], names: Iterable[str] | None = None) -> dict[str, Any]:
    """Draws of some names, or of all, as NumPy arrays; those in a store as lazy arrays."""
    stored = tensors.arrays if isinstance(tensors, StoredSites) and not tensors.flat else None
    chosen = tensors if names is None else names
    return {name: tensors[name].detach().cpu().numpy() if stored is None else stored[name] for name in chosen}


def _is_plain(key: Any) -> bool:
    return isinstance(key, (int, slice, np.integer)) and not isinstance(key, bool)
