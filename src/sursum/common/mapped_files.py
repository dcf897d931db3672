"""Data in files that are mapped into memory: read where they lie, and never copied."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MAPPINGS = "/proc/self/maps"


def map_file(array: np.memmap) -> Tensor | None:
    """The numbers of a memory-mapped array as a tensor on the same file, which writes nothing to it.

    None if it is not of one file that can be mapped: then it is copied like any array.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        ...     np.save(file.name, np.arange(3.0))
        ...     tensor = map_file(np.load(file.name, mmap_mode="r"))
        >>> tensor, is_mapped(tensor)
        (tensor([0., 1., 2.], dtype=torch.float64), True)
    """
    name, root = getattr(array, "filename", None), array
    if name is None or array.size == 0 or not array.flags.aligned:
        return None
    while isinstance(root.base, np.memmap):
        root = root.base
    # From the start of the file, whose page is mapped, to the array's first element.
    skipped = int(root.offset) + array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    steps = [step // array.itemsize for step in array.strides]
    if skipped % array.itemsize or any(step % array.itemsize or step < 0 for step in array.strides):
        return None
    first = skipped // array.itemsize
    last = first + sum((count - 1) * step for count, step in zip(array.shape, steps, strict=True))
    return _elements(str(name), array, steps, first, last)


def map_memory(array: NDArray[Any]) -> Tensor | None:
    """The same for an array of another library, such as an uncompressed column of a memory-mapped Arrow file.

    None unless its memory is that of one file, as this process's table of mappings says on Linux.
    """
    steps = [step // array.itemsize for step in array.strides]
    if array.size == 0 or any(step % array.itemsize or step < 0 for step in array.strides):
        return None
    first = int(array.__array_interface__["data"][0])
    last = first + sum((count - 1) * step for count, step in zip(array.shape, array.strides, strict=True))
    found = _mapping(first, last + array.itemsize)
    if found is None or found[1] % array.itemsize:
        return None
    name, offset = found
    return _elements(name, array, steps, offset // array.itemsize, (offset + last - first) // array.itemsize)


def _elements(name: str, array: NDArray[Any], steps: list[int], first: int, last: int) -> Tensor:
    """The elements of a file that an array has, from the first to the last."""
    dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
    whole = torch.from_file(name, shared=False, size=last + 1, dtype=dtype)
    whole.untyped_storage().of_mapped_file = True  # type: ignore[attr-defined]  # torch keeps this object with its memory
    return whole.as_strided(array.shape, steps, first)


def _mapping(start: int, stop: int) -> tuple[str, int] | None:
    """The file that is mapped, only to be read, at these addresses, and the place in it of the first."""
    if not os.path.exists(_MAPPINGS):
        return None
    with open(_MAPPINGS, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            addresses, access, offset, _, inode, *path = line.rstrip("\n").split(maxsplit=5)
            low, high = (int(part, 16) for part in addresses.split("-"))
            if low <= start < high:
                # A file of that name that has been replaced since is another.
                same = bool(path) and os.path.exists(path[0]) and os.stat(path[0]).st_ino == int(inode)
                return (path[0], start - low + int(offset, 16)) if stop <= high and "w" not in access and same else None
    return None


def is_mapped(tensor: Tensor) -> bool:
    """Whether a tensor's memory is that of a file."""
    of_memory = tensor.device.type == "cpu" and tensor.layout is torch.strided and not tensor.is_nested
    return of_memory and hasattr(tensor.untyped_storage(), "of_mapped_file")
