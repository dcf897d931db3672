"""The scale of each coordinate by the size of its gradients."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

_DECAY = 0.99
_FLOOR = 1e-2


@dataclass(eq=False)
class Preconditioner:
    """G^½, with geometric mean 1: inversely proportional to the root mean square of the gradients, mostly of late ones.

    For a normal posterior that is each coordinate's standard deviation. All coordinates start with the average of all, and one
    whose gradients are a hundredth of the average, or less, counts as if they were that.

    Example:
        >>> import torch
        >>> found = Preconditioner()
        >>> for _ in range(3000):
        ...     found.see(torch.tensor([1.0, 100.0]))
        >>> [round(value, 2) for value in found.root.tolist()]
        [8.17, 0.12]
    """

    average: Tensor | None = field(default=None, init=False)
    root: Tensor | float = field(default=1.0, init=False)

    def see(self, gradient: Tensor) -> None:
        """Take a gradient, or those of several chains, (chain, n), into account."""
        if self.average is None:
            self.average = gradient.square().mean(-1, keepdim=True).expand_as(gradient).clone()
        self.average.mul_(_DECAY).addcmul_(gradient, gradient, value=1.0 - _DECAY)
        size = self.average.sqrt()
        logs = (size + _FLOOR * size.mean(-1, keepdim=True) + 1e-30).log()
        self.root = (logs.mean(-1, keepdim=True) - logs).exp()
