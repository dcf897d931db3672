"""`einsum`, in sums of products or in the logarithms of both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sursum.errors import OptionError


def einsum(equation: str, *operands: Tensor, backend: str = "torch", **kwargs: Any) -> tuple[Tensor, ...]:
    """Sums of products along named dimensions, one result for each output of the equation.

    Args:
        equation: as of `torch.einsum`; several outputs are separated by commas.
        backend: "torch", or "pyro.ops.einsum.torch_log" for log-sum-exp of sums of logarithms.

    Example:
        >>> einsum("ab,b->a", torch.eye(2), torch.tensor([1.0, 2.0]))
        (tensor([1., 2.]),)
    """
    inputs, _, outputs = equation.partition("->")
    if kwargs.get("plates"):
        raise OptionError("einsum has no plates here: multiply over them first.")
    found = []
    for output in outputs.split(","):
        if backend in ("torch", "numpy"):
            found.append(torch.einsum(f"{inputs}->{output}", *operands))
        elif backend in ("pyro.ops.einsum.torch_log", "log"):
            found.append(_of_logarithms(inputs.split(","), output, operands))
        else:
            raise OptionError(f"einsum has the backends 'torch' and 'pyro.ops.einsum.torch_log', not {backend!r}.")
    return tuple(found)


def _of_logarithms(inputs: list[str], output: str, operands: tuple[Tensor, ...]) -> Tensor:
    names = sorted(set("".join(inputs)))
    order = [*output, *(name for name in names if name not in output)]
    total: Any = 0.0
    for dims, operand in zip(inputs, operands, strict=True):
        present = [name for name in order if name in dims]
        moved = operand.permute([dims.index(name) for name in present])
        shape = iter(moved.shape)
        total = total + moved.reshape([next(shape) if name in dims else 1 for name in order])
    summed = tuple(range(len(output), len(order)))
    result: Tensor = total.logsumexp(summed) if summed else total
    return result
