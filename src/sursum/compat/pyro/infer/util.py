"""Small functions of inference."""

from __future__ import annotations

from typing import Any

import sursum as su
from sursum.compat.pyro.distributions.util import sum_rightmost
from sursum.compat.pyro.util import torch_item


def enable_validation(is_validate: bool = True) -> None:
    """Switch the checks at sites on or off."""
    su.enable_validation(is_validate)


def is_validation_enabled() -> bool:
    """Whether sites are checked."""
    return su.is_validation_enabled()


def zero_grads(tensors: Any) -> None:
    """Set gradients to zero."""
    for one in tensors:
        if one.grad is not None:
            one.grad = None


def site_is_subsample(site: Any) -> bool:
    """Whether a node has the indices of a plate."""
    return bool(site["infer"].get("is_subsample"))


__all__ = ["enable_validation", "is_validation_enabled", "site_is_subsample", "sum_rightmost", "torch_item", "zero_grads"]
