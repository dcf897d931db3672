"""How much a program computes in one run, and the fixed rule that says whether C or torch runs its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from sursum.common.torch_private import TorchDispatchMode

aten = torch.ops.aten

#: From this number of multiplications in matrix products and convolutions of one run of the programs on, torch's single
#: precision is faster than C in double; below, handing every operator to torch takes longer than the numbers. Other
#: operators do not count: C computes a chain of them in one pass over memory.
PRODUCTS = 2_000_000
#: From this number of trained values on they are kept in the program's own precision, which takes half the memory.
TRAINED = 100_000

#: From this number of steps on C is chosen: fewer take about as long as building it.
FEWEST = 1000

_PRODUCTS = {
    aten.mm.default: (0, 1),
    aten.bmm.default: (0, 1),
    aten.mv.default: (0, 1),
    aten.addmm.default: (1, 2),
    aten.baddbmm.default: (1, 2),
}
_CONVOLUTIONS = {aten.convolution.default, aten._convolution.default}


class Work(TorchDispatchMode):
    """Counts, while it is active, what the operators compute.

    Example:
        >>> with Work() as work:
        ...     _ = (torch.ones(2, 3) @ torch.ones(3, 4)).exp()
        >>> work.products
        24
    """

    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        places = _PRODUCTS.get(func)
        if places is not None:
            self.products += out.numel() * args[places[0]].shape[-1]
        elif func in _CONVOLUTIONS:
            self.products += out.numel() * prod(args[1].shape[1:])
        return out


def is_large(work: Work, trained: Mapping[str, Tensor]) -> bool:
    """Whether torch runs the steps of programs that do this work rather than C. The rule is fixed: a seed gives one run."""
    return work.products > PRODUCTS or sum(tensor.numel() for tensor in trained.values()) > TRAINED


def in_c(work: Work, trained: Mapping[str, Tensor], num_steps: int) -> bool:
    """Whether that many steps of programs that do this work are to be taken in C, where they have no data loader."""
    return num_steps >= FEWEST and on_cpu(trained) and not is_large(work, trained)


def on_cpu(tensors: Mapping[str, Tensor]) -> bool:
    """Whether all of these lie in the processor's memory."""
    return all(tensor.device.type == "cpu" for tensor in tensors.values())
