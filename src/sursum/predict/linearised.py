"""`Linearised`: a program whose networks are linear in their weights around given values."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sursum.common.torch_private import tree_flatten, tree_unflatten
from sursum.core.module import copy_network
from sursum.core.runtime import Messenger, handler, required
from sursum.errors import PredictionError


@handler
class Linearised(Messenger):
    r"""Gives the program networks that are linear in their weights w around a mode:
    :math:`f(x; \hat w) + J_w f(x; \hat w)\,(w - \hat w)`.

    With weights drawn from Laplace's approximation of a generalised Gauss–Newton matrix these are the predictions for
    which that matrix is the Hessian.

    Args:
        mode: the values by the name of the site; weights that have none stay as they are.

    References:
        Immer, Korzepa, Bauer (2021), Improving predictions of Bayesian neural nets via local linearization, AISTATS.

    Example:
        >>> import torch, sursum as su
        >>> net = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Softplus())
        >>> program = lambda x: su.module("net", net)(x)
        >>> linear = Linearised(program, mode={"net.0.weight": torch.zeros(1, 1)})
        >>> with su.substitute(data={"net.0.weight": torch.full((1, 1), 4.0)}):
        ...     round(float(linear(torch.ones(1, 1)).detach()), 4)  # log 2 + 4 / 2
        2.6931
    """

    mode: Mapping[str, Tensor] = required()

    waiting: dict[str, None] = field(init=False, repr=False, default_factory=dict)

    def network(self, name: str, net: Any) -> Any:
        weights = dict(net.named_parameters())
        sites = {path: f"{name}.{path}" if name else path for path in weights}
        centre = {path: self.mode[site] for path, site in sites.items() if site in self.mode}
        if not centre:
            return net
        self.waiting[name] = None
        centre = {path: value.to(weights[path].dtype).to(weights[path].device) for path, value in centre.items()}
        moves = {path: weights[path] - value for path, value in centre.items()}
        plain = copy_network(net, {id(value): value for value in weights.values()}, copied_leaves=False)

        def forward(*args: Any, **kwargs: Any) -> Any:
            self.waiting.pop(name, None)
            return _line(plain, centre, moves, args, kwargs)

        net.forward = forward
        return net

    def finish(self) -> None:
        for name in self.waiting:
            raise PredictionError(
                f"the program does not call the network {name!r} itself, only parts of it or nothing, and what is linearised "
                "is the network's output. Call it as a whole, or predict without `linearised`."
            )


def _line(net: nn.Module, centre: Mapping[str, Tensor], moves: Mapping[str, Tensor], args: Any, kwargs: Any) -> Any:
    structure: list[Any] = []

    def outputs(values: Mapping[str, Tensor]) -> list[Tensor]:
        leaves, spec = tree_flatten(functional_call(net, dict(values), args, kwargs))
        if not all(isinstance(leaf, Tensor) and leaf.is_floating_point() for leaf in leaves):
            raise PredictionError(
                f"{type(net).__name__} returns something else than real tensors, which cannot be linearised. Predict without "
                "`linearised`."
            )
        structure[:] = [spec]
        return leaves

    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*torch.jit.script.* is deprecated", category=DeprecationWarning
        )  # torch's own
        values, slopes = torch.func.jvp(outputs, (dict(centre),), (dict(moves),))  # type: ignore[misc]
    return tree_unflatten([value + slope for value, slope in zip(values, slopes, strict=True)], structure[0])
