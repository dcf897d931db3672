"""A fingerprint of data, by which a file knows those again that it was written with."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def fingerprint(data: Any) -> str:
    """A text that is the same in every process for the same data, and different for different ones.

    Tensors, arrays and pandas objects count by their numbers, containers, dataclasses and networks by what they hold, and other
    things by how they are written, without addresses in memory.

    Example:
        >>> fingerprint({"y": torch.ones(2)}) == fingerprint({"y": torch.ones(2)})
        True
        >>> fingerprint({"y": torch.ones(2)}) == fingerprint({"y": torch.zeros(2)})
        False
    """
    digest = hashlib.blake2b(digest_size=16)

    def add(part: Any) -> None:
        if isinstance(part, Mapping):
            for name, value in part.items():
                digest.update(f"{name}=".encode())
                add(value)
        elif isinstance(part, (list, tuple)):
            digest.update(f"{type(part).__name__}{len(part)}".encode())
            for value in part:
                add(value)
        elif isinstance(part, (set, frozenset)):  # whose order is another one in every process
            add(sorted(map(repr, part)))
        elif isinstance(part, nn.Module):
            digest.update(type(part).__name__.encode())
            add(part.state_dict())
        elif is_dataclass(part) and not isinstance(part, type):
            digest.update(type(part).__name__.encode())
            add({one.name: getattr(part, one.name) for one in fields(part)})
        elif isinstance(part, Tensor) or hasattr(part, "__array__"):
            array = np.ascontiguousarray(_array(part) if isinstance(part, Tensor) else np.asarray(part))
            digest.update(f"{array.dtype}{array.shape}".encode())
            if array.dtype == object:
                digest.update(repr(array.tolist()).encode())
            else:
                digest.update(array.data if array.dtype.kind in "biufc" else array.tobytes())
        else:
            digest.update(_ADDRESS.sub("", repr(part)).encode())

    add(data)
    return digest.hexdigest()


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """The numbers of a tensor; bfloat16, which NumPy lacks, as the integers of its bits."""
    plain = tensor.detach().cpu()
    if plain.layout is not torch.strided:
        plain = plain.to_dense()
    plain = plain.resolve_conj().resolve_neg()
    found: np.ndarray[Any, Any] = (plain.view(torch.int16) if plain.dtype is torch.bfloat16 else plain).numpy()
    return found
