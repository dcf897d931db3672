"""How much a program computes in one run, and the fixed rule that says whether C or torch runs its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from sursum.common.torch_private import TorchDispatchMode
from sursum.compiler.capture.operators import results_of

aten = torch.ops.aten

#: From so many multiplications in matrix products and convolutions of one run of the programs on, torch's single precision
#: is faster than C in double; below, handing every operator to torch takes longer than the numbers.
PRODUCTS = 2_000_000
#: The same for elements that other operators compute.
ELEMENTS = 400_000

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
        >>> work.products, work.elements, work.is_large
        (24, 30, False)
    """

    def __init__(self) -> None:
        super().__init__()
        self.products, self.elements = 0, 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: torch would import Dynamo, two seconds, to wrap this mode otherwise."""
        return False

    @property
    def is_large(self) -> bool:
        """Whether torch runs a step of such programs faster than C does."""
        return self.products > PRODUCTS or self.elements > ELEMENTS

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        results = [result for result in results_of(out) if isinstance(result, Tensor)]
        places = _PRODUCTS.get(func)
        if places is not None:
            self.products += results[0].numel() * args[places[0]].shape[-1]
        elif func in _CONVOLUTIONS:
            self.products += results[0].numel() * prod(args[1].shape[1:])
        elif results and not getattr(func, "is_view", False):
            self.elements += sum(result.numel() for result in results)
        return out


def on_cpu(tensors: Mapping[str, Tensor]) -> bool:
    """Whether all of these lie in the processor's memory."""
    return all(tensor.device.type == "cpu" for tensor in tensors.values())
