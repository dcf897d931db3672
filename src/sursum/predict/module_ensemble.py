"""`ModuleEnsemble`: a network at every draw of its weights, as one module."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sursum.common.patterns import suggestion
from sursum.common.torch_private import tree_flatten, tree_unflatten
from sursum.core.messages import Param
from sursum.core.module import module
from sursum.distributions.randomness import global_seed
from sursum.errors import PredictionError
from sursum.handlers import substitute, trace
from sursum.predict.predictive import optional_number
from sursum.predict.vectorise import Draw, pieces


class ModuleEnsemble(nn.Module):
    """A network with many sets of weights: its output has a leading dimension for them, (draw, *shape).

    The weights stay where they are and are converted to the network's dtype and device in chunks; the forward pass
    is mapped over them where the layers can be mapped, and otherwise runs one by one. It is differentiable in its inputs.

    Args:
        net: the network. It is not changed.
        weights: draws of its parameters by path, each (draw, *shape); parameters that are not named keep their value.
        chunk: how many draws to evaluate at once; None chooses by the memory of one.

    Example:
        >>> import torch
        >>> net = torch.nn.Linear(2, 1, bias=False)
        >>> nets = ModuleEnsemble(net, {"weight": torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]])})
        >>> len(nets), nets(torch.tensor([[3.0, 4.0]])).tolist(), nets[1].weight.tolist()
        (2, [[[3.0]], [[8.0]]], [[0.0, 2.0]])
    """

    net: nn.Module
    weights: dict[str, Tensor]

    def __init__(self, net: nn.Module, weights: Mapping[str, Tensor], *, chunk: int | None = None) -> None:
        super().__init__()
        chunk = optional_number("chunk", chunk, 1)
        own = dict(net.named_parameters())
        unknown = [path for path in weights if path not in own]
        if unknown or not weights:
            raise PredictionError(
                f"the network has no parameter {unknown[0]!r}.{suggestion(unknown[0], own)}"
                if unknown
                else "there are no draws of any parameter of the network. Lift some of them."
            )
        counts = {path: len(values) for path, values in weights.items()}
        for path, values in weights.items():
            if values.shape != (next(iter(counts.values())), *own[path].shape):
                raise PredictionError(
                    f"the draws of parameter {path!r} have shape {tuple(values.shape)}, but the network needs "
                    f"{(next(iter(counts.values())), *own[path].shape)}: draws first. Give the network that was sampled."
                )
        # Plain attributes: the network belongs to the user, and is not a submodule that an optimiser should find.
        self.__dict__["net"] = net
        self.__dict__["weights"] = dict(weights)
        self.chunk = chunk

    def __len__(self) -> int:
        """The number of sets of weights."""
        return len(next(iter(self.weights.values())))

    def __getitem__(self, draw: int) -> nn.Module:
        """The network of one draw: a separate module, whose parameters may be trained further."""
        if not -len(self) <= draw < len(self):
            raise IndexError(f"draw {draw} of an ensemble of {len(self)} networks")
        single = self._at({path: values[draw] for path, values in self.weights.items()})
        return _independent(single, self.net)

    def __iter__(self) -> Iterator[nn.Module]:
        return (self[draw] for draw in range(len(self)))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs of all networks for these inputs, stacked along a leading dimension: (draw, *shape)."""
        structure: list[Any] = []

        def run(values: Mapping[str, Tensor], draw: Draw) -> dict[str, Tensor]:
            leaves, spec = tree_flatten(self._at(values)(*args, **kwargs))
            structure[:] = [spec, [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]]
            return {str(i): leaf for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)}

        seed = (global_seed(),) if any(part.training for part in self.net.modules()) else None
        kept: dict[str, list[Tensor]] = {}
        for _, piece in pieces(run, self.weights, len(self), seed=seed, chunk=self.chunk):
            for name, value in piece.items():
                kept.setdefault(name, []).append(value)
        stacked = {name: parts[0] if len(parts) == 1 else torch.cat(parts) for name, parts in kept.items()}
        spec, others = structure
        return tree_unflatten([stacked.get(str(i), other) for i, other in enumerate(others)], spec)

    def extra_repr(self) -> str:
        weights = ", ".join(f"{path} {tuple(values.shape[1:])}" for path, values in self.weights.items())
        return f"{len(self)} draws of {type(self.net).__name__}: {weights}"

    def _at(self, values: Mapping[str, Tensor]) -> nn.Module:
        """The network with these values, in its own dtype and on its own device."""
        own = dict(self.net.named_parameters())
        given = {path: value.to(dtype=own[path].dtype, device=own[path].device) for path, value in values.items()}
        with substitute(data=given):
            return module("", self.net)


def _independent(single: nn.Module, net: nn.Module) -> nn.Module:
    """`single`, a copy of `net` that shares unchanged tensors, as a module that shares nothing and can be trained."""
    leaves = {
        id(value): nn.Parameter(value.detach().clone(), requires_grad=original.requires_grad)
        for value, original in zip(single.parameters(), net.parameters(), strict=True)
    }
    return copy.deepcopy(single, leaves)


def network_draws(
    name: str, net: nn.Module | None, sites: Mapping[str, Tensor], run: Callable[[], Any] | None
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network named `name` in a program, and the draws of its parameters by path, (draw, *shape).

    Args:
        name: the name in ``module(name, net)``.
        net: the network; None looks for it in an execution of the program.
        sites: draws of (chain, draw, *shape).
        run: one execution of the program, at one of the draws.

    Raises:
        PredictionError: the network does not exist, or none of it was lifted.
    """
    held: dict[str, Tensor] = {}
    if net is None:
        if run is None:
            raise PredictionError(
                "this posterior has no program that contains the network: it was loaded from a file, or made by "
                f"hand. Give the network: posterior.module({name!r}, net)."
            )
        net, held = _find(name, run)
    own = dict(net.named_parameters())
    paths = {path: f"{name}.{path}" if name else path for path in own}
    draws = {path: sites[site].flatten(0, 1) for path, site in paths.items() if site in sites}
    if not draws:
        raise PredictionError(
            f"the posterior has no draws of a parameter of network {name!r}: none of them was lifted."
            f"{suggestion(next(iter(paths.values()), name), sites)}"
        )
    # Parameters that were not lifted have one value for all draws: a handler's, or the network's own.
    count = len(next(iter(draws.values())))
    kept = {path: value for path, value in held.items() if path not in draws and value is not own[path]}
    return net, draws | {path: value.detach().expand(count, *value.shape) for path, value in kept.items()}


def _find(name: str, run: Callable[[], Any]) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network named `name` in an execution, and the values of its parameters that remained parameters."""
    with trace() as recorder, torch.no_grad():
        run()
    names: dict[str, None] = {}
    net: nn.Module | None = None
    values: dict[str, Tensor] = {}
    for site in recorder.trace.values():
        param = site if isinstance(site, Param) else getattr(site, "param", None)
        if param is None or param.owner is None:
            continue
        path = next(path for path, value in param.owner.named_parameters() if value is param.initial)
        called = param.name[: len(param.name) - len(path)].rstrip(".")
        names[called] = None
        if called == name:
            net = param.owner
            if isinstance(site, Param):
                values[path] = site.value
    if net is None:
        known = suggestion(name, names) if names else " It has none: networks are read by module(name, net)."
        raise PredictionError(f"the program has no network named {name!r}.{known}")
    return net, values
