"""Where weights are used: the calls of linear and convolution layers in a run, with their inputs and outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_LINEAR = frozenset((functional.linear,))
_PRODUCTS = frozenset((torch.matmul, torch.mm, torch.mv, Tensor.matmul, Tensor.mm, Tensor.mv, Tensor.__matmul__))
_CONVOLUTIONS = {functional.conv1d: 1, functional.conv2d: 2}
_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call: the output z = a W^T + b, with a of (…, inputs) and z of (…, outputs), once they are arranged so.

    Args:
        weight, bias: the tensors themselves.
        source: the input, and `result` the output, as the program has them.
        convolution: the arguments of a convolution, by name; None for a product.
        transposed: whether the weight is (inputs, outputs).
    """

    weight: Tensor
    bias: Tensor | None
    source: Tensor
    result: Tensor
    convolution: Mapping[str, Any] | None = None
    transposed: bool = False

    def inputs(self) -> Tensor:
        """The layer's inputs, (rows, places, inputs): a place for each time that the weight is applied to a row."""
        if self.convolution is not None:
            return _windows(self.source.detach().double(), self.convolution).transpose(1, 2)
        a = self.source.detach().double()
        return a.flatten(1, -2) if a.dim() > 2 else a[:, None]

    def outputs(self, slope: Tensor) -> Tensor:
        """Derivatives in the output, in its shape, as (rows, places, outputs)."""
        if self.convolution is not None:
            return slope.flatten(2).transpose(1, 2)
        if self.weight.dim() == 1:
            slope = slope[..., None]
        return slope.flatten(1, -2) if slope.dim() > 2 else slope[:, None]

    @property
    def rows(self) -> int | None:
        """The length of the leading dimension; None where there is none."""
        least = 2 if self.convolution is None else 2 + self.convolution["dims"]
        return len(self.source) if self.source.dim() >= least else None


@dataclass
class LayerRecorder(TorchFunctionMode):
    """While it is active, the calls of layers are recorded."""

    calls: list[LayerCall] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _LINEAR or func in _CONVOLUTIONS:
            given = dict(zip(_ARGUMENTS, args, strict=False)) | dict(kwargs or {})
            settings = None
            if func in _CONVOLUTIONS:
                settings = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "dims": _CONVOLUTIONS[func]} | given
                settings = {name: settings[name] for name in (*_ARGUMENTS[3:], "dims")} | {"kernel": given["weight"].shape[2:]}
            call = LayerCall(given["weight"], given.get("bias"), given["input"], result, settings)
            if settings is None or settings["groups"] == 1:
                self.calls.append(call)
        elif func in _PRODUCTS and len(args) == 2 and not kwargs and isinstance(args[1], Tensor) and args[1].dim() <= 2:
            self.calls.append(LayerCall(args[1], None, args[0], result, transposed=True))
        return result


def _windows(source: Tensor, settings: Mapping[str, Any]) -> Tensor:
    """The windows of a convolution's input, (rows, inputs · kernel, places)."""
    dims, kernel = settings["dims"], tuple(settings["kernel"])
    stride, dilation, padding = (_pair(settings[name], dims) for name in ("stride", "dilation", "padding"))
    x = source
    if settings["padding"] == "same":
        around = [dilation[d] * (kernel[d] - 1) for d in range(dims)]
        x = functional.pad(x, [side for total in reversed(around) for side in (total // 2, total - total // 2)])
        padding = (0,) * dims
    if dims == 1:
        x, kernel = x[:, :, None], (1, *kernel)
        stride, dilation, padding = (1, *stride), (1, *dilation), (0, *padding)
    return functional.unfold(x, kernel, dilation, padding, stride)


def _pair(value: Any, dims: int) -> tuple[int, ...]:
    if isinstance(value, str):
        return (0,) * dims
    return (value,) * dims if isinstance(value, int) else tuple(value)


def matrix_shape(shape: torch.Size, transposed: bool) -> tuple[int, int]:
    """A weight's shape as (outputs, inputs)."""
    if transposed:
        return (1, shape[0]) if len(shape) == 1 else (shape[1], shape[0])
    return shape[0], math.prod(shape[1:])
