"""`ClippedAdam`: Adam with clipped gradients, and a learning rate that shrinks at each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class ClippedAdam(torch.optim.Adam):
    """Adam; every element of a gradient is clipped to ±`clip_norm`, and the learning rate multiplied by `lrd` before each step.

    Args:
        params: tensors, or groups of them.
        lr, betas, eps, weight_decay: of Adam.
        clip_norm: the bound of an element of the gradient.
        lrd: the factor of the learning rate.
        centered_variance: not here.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float = 10.0,
        lrd: float = 1.0,
        centered_variance: bool = False,
    ) -> None:
        if centered_variance:
            raise ValueError("ClippedAdam has no centered variance here: leave `centered_variance` out.")
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        for group in self.param_groups:
            group["clip_norm"], group["lrd"] = clip_norm, lrd

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step."""
        for group in self.param_groups:
            group["lr"] *= group["lrd"]
            for leaf in group["params"]:
                if isinstance(leaf, Tensor) and leaf.grad is not None:
                    leaf.grad.clamp_(-group["clip_norm"], group["clip_norm"])
        return super().step(closure)
