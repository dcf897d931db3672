"""Data in files that are mapped into memory: read where they lie, and never copied."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


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
    dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
    whole = torch.from_file(str(name), shared=False, size=last + 1, dtype=dtype)
    whole.untyped_storage().of_mapped_file = True  # type: ignore[attr-defined]  # torch keeps this object with its memory
    return whole.as_strided(array.shape, steps, first)


def is_mapped(tensor: Tensor) -> bool:
    """Whether a tensor's memory is that of a file."""
    of_memory = tensor.device.type == "cpu" and tensor.layout is torch.strided and not tensor.is_nested
    return of_memory and hasattr(tensor.untyped_storage(), "of_mapped_file")
