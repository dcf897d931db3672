"""`TableLimit`: says that all values of discrete sites together are too many, before an operator makes room for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sursum.common.torch_private import TorchDispatchMode
from sursum.errors import DensityError
from sursum.handlers.enumerate.potentials import LARGEST_TABLE


class TableLimit(TorchDispatchMode):
    """While it is active, an operator whose tensors broadcast to more numbers than a table may have is an error.

    Args:
        sites: the discrete sites, for the error.

    Raises:
        DensityError: names the sites, the shape and how many numbers there would be.
    """

    def __init__(self, sites: str) -> None:
        super().__init__()
        self._sites = sites

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        shapes = [argument.shape for argument in args if isinstance(argument, Tensor)]
        if len(shapes) > 1 and math.prod(max(shape.numel(), 1) for shape in shapes) > LARGEST_TABLE:
            try:
                together = torch.broadcast_shapes(*shapes)
            except RuntimeError:  # a product of matrices, or the like
                together = torch.Size()
            if together.numel() > LARGEST_TABLE:
                raise DensityError(
                    f"with all values of the discrete sites {self._sites} at once an operator of the program ({func}) would "
                    f"give {together.numel():,} numbers, of shape {tuple(together)}; at most {LARGEST_TABLE:,} are allowed. "
                    "Let fewer sites depend on each other, put independent ones into a plate, write a loop in time as su.scan "
                    "or with su.markov, give sites fewer values, or draw them with su.infer.DiscreteGibbs."
                )
        return func(*args, **(kwargs or {}))
