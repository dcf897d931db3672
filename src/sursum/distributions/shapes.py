"""Broadcast shapes. `torch.broadcast_shapes` does the same, but its first call imports SymPy, a third of a second."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def broadcast_shapes(*shapes: Sequence[int]) -> torch.Size:
    """The shape to which tensors of these shapes broadcast.

    Raises:
        RuntimeError: they do not.

    Example:
        >>> broadcast_shapes((3, 1), (4,), ())
        torch.Size([3, 4])
    """
    joint: list[int] = []
    for place in range(1, 1 + max(map(len, shapes), default=0)):
        sizes = {int(shape[-place]) for shape in shapes if len(shape) >= place} - {1}
        if len(sizes) > 1:
            raise RuntimeError(f"shapes {', '.join(str(tuple(s)) for s in shapes)} do not broadcast")
        joint.append(sizes.pop() if sizes else 1)
    return torch.Size(reversed(joint))


def broadcasts(small: Sequence[int], large: Sequence[int]) -> bool:
    """Whether a tensor of shape `small` expands to `large`.

    Example:
        >>> broadcasts((1, 4), (3, 4)), broadcasts((3, 4), (4,))
        (True, False)
    """
    try:
        return broadcast_shapes(small, large) == torch.Size(large)
    except RuntimeError:
        return False
