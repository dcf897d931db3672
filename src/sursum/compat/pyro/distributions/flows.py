"""Transforms with parameters, Pyro's functions that make them, over zuko's networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import ComposeTransform, Distribution, Transform, constraints

from sursum.errors import MissingPackageError, OptionError


class TransformModule(Transform, nn.Module):
    """A transform of vectors that is a network as well: an optimiser trains its parameters, `pyro.module` reads them by name.

    It is bijective from real vectors to real vectors. The layer is zuko's: a module that gives a transform at each call.

    Example:
        >>> import torch
        >>> from sursum.compat.pyro.distributions import transforms as T
        >>> x, layer = torch.randn(5, 3), T.spline_coupling(3)
        >>> bool(torch.allclose(layer.inv(layer(x)), x, atol=1e-5)), len(list(layer.parameters()))
        (True, 4)
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True
    # torch's transforms are equal where they are one object, and have no hash; networks need one.
    __hash__ = nn.Module.__hash__

    def __init__(self, layer: nn.Module) -> None:
        nn.Module.__init__(self)
        Transform.__init__(self)
        self.layer = layer

    def _call(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer()(x)
        return found

    def _inverse(self, y: Tensor) -> Tensor:
        found: Tensor = self.layer().inv(y)
        return found

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log |det ∂y/∂x|, one number for each vector."""
        found: Tensor = self.layer().log_abs_det_jacobian(x, y)
        return found

    def with_cache(self, cache_size: int = 1) -> TransformModule:
        """This one: its parameters change, and a value that was kept would not."""
        return self


class ComposeTransformModule(ComposeTransform, nn.ModuleList):
    """Transforms one after the other, some of which have parameters."""

    __hash__ = nn.Module.__hash__

    def __init__(self, parts: Sequence[Transform]) -> None:
        ComposeTransform.__init__(self, list(parts))  # which makes the list of modules as well, empty
        self.extend([part for part in parts if isinstance(part, nn.Module)])


class Permute(Transform):
    """The elements of the rightmost dimension in another order: y[k] = x[permutation[k]].

    Example:
        >>> import torch
        >>> Permute(torch.tensor([2, 0, 1]))(torch.tensor([0.0, 1.0, 2.0]))
        tensor([2., 0., 1.])
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, permutation: Tensor) -> None:
        super().__init__()
        self.permutation = permutation

    def _call(self, x: Tensor) -> Tensor:
        return x[..., self.permutation]

    def _inverse(self, y: Tensor) -> Tensor:
        return y[..., self.permutation.argsort()]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """0: no volume changes."""
        return torch.zeros_like(x[..., 0])


def affine_autoregressive(input_dim: int, hidden_dims: Sequence[int] | None = None) -> TransformModule:
    """Each element shifted and scaled by a network of those before it (Papamakarios, Pavlakou & Murray 2017)."""
    return _autoregressive(input_dim, hidden_dims)


def affine_coupling(input_dim: int, hidden_dims: Sequence[int] | None = None, split_dim: int | None = None) -> TransformModule:
    """The elements from `split_dim` on, half of them, shifted and scaled by a network of the others (Dinh et al. 2017)."""
    return _coupling(input_dim, hidden_dims, split_dim)


def spline(input_dim: int, count_bins: int = 8, bound: float = 3.0, order: str = "quadratic") -> TransformModule:
    """Each element by a monotonic rational-quadratic spline of its own within ±`bound` (Durkan et al. 2019)."""
    _check_order(order)
    made = _zuko().ElementWiseTransform(features=input_dim, **_splines(count_bins, bound))
    return TransformModule(made)


def spline_autoregressive(
    input_dim: int,
    hidden_dims: Sequence[int] | None = None,
    count_bins: int = 8,
    bound: float = 3.0,
    order: str = "quadratic",
) -> TransformModule:
    """Each element by a spline whose knots are a network of those before it (Durkan et al. 2019)."""
    _check_order(order)
    return _autoregressive(input_dim, hidden_dims, **_splines(count_bins, bound))


def spline_coupling(
    input_dim: int,
    split_dim: int | None = None,
    hidden_dims: Sequence[int] | None = None,
    count_bins: int = 8,
    bound: float = 3.0,
) -> TransformModule:
    """The elements from `split_dim` on by splines whose knots are a network of the others (Durkan et al. 2019)."""
    return _coupling(input_dim, hidden_dims, split_dim, **_splines(count_bins, bound))


def permute(input_dim: int, permutation: Tensor | None = None) -> Permute:
    """Another order of the elements, by chance where none is given."""
    return Permute(torch.randperm(input_dim) if permutation is None else permutation)


def iterated(repeats: int, base_fn: Callable[..., Transform], *args: Any, **kwargs: Any) -> ComposeTransformModule:
    """`repeats` transforms, each made by ``base_fn(*args, **kwargs)``, one after the other."""
    return ComposeTransformModule([base_fn(*args, **kwargs) for _ in range(repeats)])


def _autoregressive(input_dim: int, hidden_dims: Sequence[int] | None, **univariate: Any) -> TransformModule:
    hidden = _hidden(input_dim, hidden_dims)
    return TransformModule(_zuko().MaskedAutoregressiveTransform(features=input_dim, hidden_features=hidden, **univariate))


def _coupling(input_dim: int, hidden_dims: Sequence[int] | None, split_dim: int | None, **univariate: Any) -> TransformModule:
    kept = torch.arange(input_dim) < (input_dim // 2 if split_dim is None else split_dim)
    hidden = _hidden(input_dim, hidden_dims)
    return TransformModule(
        _zuko().GeneralCouplingTransform(features=input_dim, mask=kept, hidden_features=hidden, **univariate)
    )


def _check_order(order: str) -> None:
    if order != "quadratic":
        raise OptionError(f"`order` is {order!r}, but zuko's splines are rational-quadratic: leave it out.")


def _hidden(input_dim: int, hidden_dims: Sequence[int] | None) -> list[int]:
    """Ten times as many as there are inputs, in one layer, as in Pyro."""
    return [10 * input_dim] if hidden_dims is None else list(hidden_dims)


def _splines(count_bins: int, bound: float) -> dict[str, Any]:
    """A spline's widths and heights of bins and the slopes between them."""
    shapes = [(count_bins,), (count_bins,), (count_bins - 1,)]
    return {"univariate": partial(_zuko("transforms").MonotonicRQSTransform, bound=bound), "shapes": shapes}


def _zuko(part: str = "flows") -> Any:
    """A part of zuko, whose import switches off torch's checks of arguments in the whole process: this restores them."""
    checks = Distribution._validate_args
    try:
        return import_module(f"zuko.{part}")
    except ImportError as error:
        raise MissingPackageError(
            "transforms with parameters are zuko's, which is not installed: pip install 'sursum[flows]'."
        ) from error
    finally:
        Distribution.set_default_validate_args(checks)
