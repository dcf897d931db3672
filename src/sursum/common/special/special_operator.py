"""A function of doubles that torch lacks, as an operator of torch's: with derivatives, mapped by vmap, seen by a capture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.torch_private import DisableTorchFunction

Array = NDArray[np.float64]
#: From vectors of doubles of one length, and what of the function is asked for.
Kernel = Callable[[tuple[Array, ...], int], Array]
#: The derivative by one argument: what is asked for then, and a sign.
Slope = tuple[int, float]

_LOCK = Lock()


@dataclass(frozen=True, eq=False)
class SpecialOperator:
    """`sursum::<name>(Tensor…, int which) -> Tensor`, elementwise.

    Args:
        name: also that of the C function, `su_<name>`, which is passed `which` first.
        arity: how many tensors it has.
        kernel: the function in NumPy.
        slopes: for each `which` that has derivatives those by its arguments, in their order; None where there is none.
    """

    name: str
    arity: int
    kernel: Kernel
    slopes: Mapping[int, tuple[Slope | None, ...]] = field(repr=False)

    def __call__(self, which: int, *args: Tensor) -> Tensor:
        """The function of tensors that are broadcast, in float64, differentiable once by all of them."""
        with DisableTorchFunction():
            wide = torch.broadcast_tensors(*(arg.to(torch.float64) for arg in args))
            found: Tensor = _SpecialFunction.apply(self, which, *wide)
        return found

    @property
    def operator(self) -> Any:
        """The operator, registered the first time that it is used."""
        with _LOCK:
            return self._registered[1]

    @cached_property
    def _registered(self) -> tuple[torch.library.Library, Any]:
        """What holds the registration, which lives as long as the process, and the operator."""
        library = torch.library.Library("sursum", "FRAGMENT")
        tensors = ", ".join(f"Tensor x{k}" for k in range(self.arity))
        library.define(f"{self.name}({tensors}, int which) -> Tensor")
        library.impl(self.name, self._run, "CompositeExplicitAutograd")
        torch.library.register_vmap(f"sursum::{self.name}", self._batched, lib=library)
        return library, getattr(torch.ops.sursum, self.name).default

    def _run(self, *args: Any) -> Tensor:
        *tensors, which = args
        wide = torch.broadcast_tensors(*tensors)
        found = self.kernel(tuple(tensor.detach().cpu().numpy().ravel() for tensor in wide), which)
        return torch.from_numpy(found).reshape(wide[0].shape).to(wide[0].device)

    def _batched(self, info: Any, dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        """All arguments have the same shape but for the batch."""
        *tensors, which = args
        moved = (t.unsqueeze(0) if dim is None else t.movedim(dim, 0) for t, dim in zip(tensors, dims, strict=False))
        found: Tensor = self.operator(*torch.broadcast_tensors(*moved), which)
        return found, 0


@dataclass(frozen=True, eq=False)
class TensorOperator(SpecialOperator):
    """One whose function is computed in torch, on the device of its arguments."""

    kernel: Callable[[tuple[Tensor, ...], int], Tensor]  # type: ignore[assignment]

    def _run(self, *args: Any) -> Tensor:
        *tensors, which = args
        return self.kernel(tuple(torch.broadcast_tensors(*tensors)), which)


class _SpecialFunction(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(special: SpecialOperator, which: int, *args: Tensor) -> Tensor:
        """The value."""
        found: Tensor = special.operator(*args, which)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keeps the arguments."""
        ctx.special, ctx.which = inputs[:2]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        """The derivatives that are asked for."""
        (above,), args, found = slopes, ctx.saved_tensors, [None, None]
        if ctx.which not in ctx.special.slopes:
            raise NotImplementedError(f"the second derivative of sursum::{ctx.special.name} is not implemented")
        for slope, needed in zip(ctx.special.slopes[ctx.which], ctx.needs_input_grad[2:], strict=True):
            found.append(above * slope[1] * _SpecialFunction.apply(ctx.special, slope[0], *args) if slope and needed else None)
        return tuple(found)
