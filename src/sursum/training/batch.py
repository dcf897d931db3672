"""The arguments of a program as inputs of a step: its tensors, and all else that one call must share with another."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sursum.common.torch_private import tree_flatten, tree_unflatten
from sursum.errors import CaptureError

_PLAIN = (int, float, bool, str, complex, type(None), torch.dtype, torch.device)


@dataclass(frozen=True)
class Batch:
    """The arguments of one call. `key` is equal for calls that differ in the numbers of their tensors only."""

    tensors: tuple[Tensor, ...]
    key: Hashable
    leaves: tuple[Any, ...]
    spec: Any  # how containers hold the leaves; None where each leaf is an argument, the last ones named
    names: tuple[str, ...]

    @classmethod
    def of(cls, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Batch:
        """The batch of a call.

        Raises:
            CaptureError: an argument that is neither a tensor, nor a number or string, nor a tuple, list or dict of such.
        """
        leaves, spec, shown = [*args, *kwargs.values()], None, str(len(args))
        if not all(type(leaf) is Tensor or type(leaf) in _PLAIN for leaf in leaves):
            leaves, spec = tree_flatten((tuple(args), dict(kwargs)))
            shown = str(spec)
        key: list[Hashable] = [shown, *kwargs]
        for leaf in leaves:
            if isinstance(leaf, Tensor):
                if type(leaf) is not Tensor or leaf.layout is not torch.strided or leaf.requires_grad:
                    raise CaptureError(f"an argument is {_what(leaf)}, and inputs of a step are plain dense tensors")
                key.append((tuple(leaf.shape), leaf.dtype, leaf.device))
            elif isinstance(leaf, _PLAIN):
                key.append((type(leaf), leaf))
            else:
                raise CaptureError(f"an argument is a {type(leaf).__name__}, which may hold other data in the next step")
        tensors = tuple(leaf for leaf in leaves if isinstance(leaf, Tensor))
        return cls(tensors, tuple(key), tuple(leaves), spec, tuple(kwargs))

    def arguments(self, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with other tensors of the same shapes."""
        left = iter(tensors)
        filled = [next(left) if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]
        if self.spec is None:
            count = len(filled) - len(self.names)
            return tuple(filled[:count]), dict(zip(self.names, filled[count:], strict=True))
        args, kwargs = tree_unflatten(filled, self.spec)
        return args, kwargs


def _what(tensor: Tensor) -> str:
    if tensor.requires_grad:
        return "a tensor that requires a gradient"
    return f"a {type(tensor).__name__} of layout {tensor.layout}"
