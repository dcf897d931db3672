"""`DenseNN`: a network of linear layers with several outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class DenseNN(nn.Module):
    """Linear layers with an activation between them, whose output is split.

    Args:
        input_dim: the size of the input.
        hidden_dims: the sizes of the hidden layers.
        param_dims: the sizes of the outputs, each returned as a tensor; one of them is returned alone.
        nonlinearity: the activation.
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dims: Sequence[int],
        param_dims: Sequence[int] = (1, 1),
        nonlinearity: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        sizes = [input_dim, *hidden_dims, sum(param_dims)]
        self.layers = nn.ModuleList(nn.Linear(one, other) for one, other in pairwise(sizes))
        self.f: Callable[[Tensor], Tensor] = nn.ReLU() if nonlinearity is None else nonlinearity
        self.param_dims = tuple(param_dims)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        for layer in self.layers[:-1]:
            x = self.f(layer(x))
        x = self.layers[-1](x)
        parts: tuple[Tensor, ...] = tuple(torch.split(x, list(self.param_dims), -1))
        return parts[0] if len(parts) == 1 else parts
