"""Snapshots of data: copies of the tensors and arrays that a program is called with."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import torch
from torch import Tensor

from sursum.common.mapped_files import is_mapped

_CONTAINERS = (list, tuple, dict)


def snapshot_of(tree: Any) -> Any:
    """`tree` with copies of the tensors and arrays in its lists, tuples, dicts and dataclasses.

    Of a view only the visible part is copied. Objects without arrays are returned as they are; so are networks, their
    parameters and other tensors that require a gradient, what lies in a mapped file, and objects of other types.

    Example:
        >>> import torch
        >>> buffer = torch.tensor([1.0, 2.0])
        >>> kept = snapshot_of({"y": buffer[:1]})
        >>> _ = buffer.zero_()
        >>> kept
        {'y': tensor([1.])}
    """
    if isinstance(tree, Tensor):
        return tree if type(tree) is not Tensor or tree.requires_grad or is_mapped(tree) else _copy(tree)
    if type(tree) in _CONTAINERS or hasattr(tree, "_fields"):
        parts = [snapshot_of(part) for part in (tree.values() if isinstance(tree, dict) else tree)]
        if all(new is old for new, old in zip(parts, tree.values() if isinstance(tree, dict) else tree, strict=True)):
            return tree
        if isinstance(tree, dict):
            return dict(zip(tree, parts, strict=True))
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return _copy_of_fields(tree)
    if hasattr(tree, "__array__") and callable(getattr(tree, "copy", None)):  # NumPy, pandas and similar libraries
        return tree.copy()
    return tree


def _copy(tensor: Tensor) -> Tensor:
    """A copy that keeps expanded dimensions expanded, without memory for each element."""
    if tensor.layout is not torch.strided or tensor.is_nested:
        return tensor.clone()
    repeated = [n > 1 and not stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True)]
    if not any(repeated):
        return tensor.clone()
    once = tensor[tuple(slice(0, 1) if again else slice(None) for again in repeated)]
    copied: Tensor = once.clone().expand(tensor.shape)
    return copied


def _copy_of_fields(item: Any) -> Any:
    fields = {field.name: getattr(item, field.name) for field in dataclasses.fields(item) if hasattr(item, field.name)}
    changed = {name: snapshot_of(value) for name, value in fields.items()}
    if all(changed[name] is value for name, value in fields.items()):
        return item
    other = copy.copy(item)
    for name, value in changed.items():
        object.__setattr__(other, name, value)
    return other
