"""`ModuleEnsemble`: a network at every draw of its weights, as one module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from sursum.common.patterns import suggestion
from sursum.common.torch_private import is_wrapped, tree_flatten
from sursum.common.vmap import vmap
from sursum.distributions.randomness import drawing_from, global_seed
from sursum.errors import PredictionError
from sursum.predict.free_sizes import keeps_sizes_free
from sursum.predict.network_outputs import Output
from sursum.predict.predictive import optional_number
from sursum.predict.stacked_network import Origin, as_network, at_values, keeps_references, relink, stack, tensors_of
from sursum.predict.vectorise import BUDGET, Meter, agree


class ModuleEnsemble(nn.Module):
    """A network with many sets of weights, its members: its output has a leading dimension for them, (member, *shape).

    The members lie in its `state_dict`, each parameter as one buffer of (member, *shape) in the network's dtype and on its
    device, under the network's own names after "net.". `.to`, `.double` and so on convert them, and `torch.export`, ONNX and
    `torch.compile` take the module: what they write runs without sursum. The forward pass is mapped over the members where the
    layers can be mapped, in chunks, and otherwise runs one by one. It is differentiable in its inputs. Distributions of torch
    that the network returns are stacked as tensors are.

    Args:
        net: the network. It is copied and not changed.
        weights: draws of its parameters, and buffers, by path, each (member, *shape); what is not named keeps its value.
        chunk: how many members to evaluate at once; None chooses by the memory of one.

    Raises:
        PredictionError: weights that do not fit the network.

    Example:
        >>> import torch
        >>> net = torch.nn.Linear(2, 1, bias=False)
        >>> nets = ModuleEnsemble(net, {"weight": torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]])})
        >>> len(nets), nets(torch.tensor([[3.0, 4.0]])).tolist(), nets[1].weight.tolist()
        (2, [[[3.0]], [[8.0]]], [[0.0, 2.0]])
        >>> {name: tuple(value.shape) for name, value in nets.state_dict().items()}
        {'net.weight': (2, 1, 2)}
    """

    net: nn.Module

    def __init__(self, net: nn.Module, weights: Mapping[str, Tensor], *, chunk: int | None = None) -> None:
        super().__init__()
        self.chunk = optional_number("chunk", chunk, 1)
        while isinstance(original := getattr(net, "_orig_mod", None), nn.Module):
            net = original
        own = {**dict(net.named_parameters()), **dict(net.named_buffers())}
        _check(weights, own)
        given = {
            path: value.detach().to(dtype=own[path].dtype, device=own[path].device, copy=True)
            for path, value in weights.items()
        }
        self._paths, self._origin, self._title = tuple(given), Origin.of(net), type(net).__name__
        self.net = stack(net, given)
        self.train(net.training)
        for part, theirs in zip(self.net.modules(), net.modules(), strict=True):
            part.training = theirs.training
        self._referring = keeps_references(self.net)
        self._plans: dict[Any, tuple[bool, int]] = {}

    @property
    def weights(self) -> dict[str, Tensor]:
        """The members' parameters, and the buffers that differ, by path, (member, *shape): the module's own buffers."""
        return {path: self.net.get_buffer(path) for path in self._paths}

    def __len__(self) -> int:
        """The number of members."""
        return len(self.net.get_buffer(self._paths[0]))

    def __getitem__(self, member: int) -> nn.Module:
        """The network of one member: a separate module, whose parameters may be trained further."""
        if not -len(self) <= member < len(self):
            raise IndexError(f"draw {member} of an ensemble of {len(self)} networks")
        return as_network(self.net, {path: value[member] for path, value in self.weights.items()}, self._origin)

    def __iter__(self) -> Iterator[nn.Module]:
        return (self[member] for member in range(len(self)))

    def thin(self, members: int) -> ModuleEnsemble:
        """An ensemble of this many of the members, evenly spaced: fewer weights to keep, and less to compute.

        Raises:
            PredictionError: `members` is not a whole number from 1 to the number of members.
        """
        rows = torch.tensor(evenly_spaced(members, len(self)))
        found = ModuleEnsemble(self[0], {p: v[rows.to(v.device)] for p, v in self.weights.items()}, chunk=self.chunk)
        found._origin = self._origin
        return found

    @property
    def forward(self) -> Callable[..., Any]:  # type: ignore[override]
        """The function from inputs to the outputs of all members, stacked along a leading dimension: (member, *shape).

        It has the parameters of the network's own, by whose names `torch.export` is told which shapes are dynamic.
        """

        def forward(*args: Any, **kwargs: Any) -> Any:
            return self._run(args, kwargs)

        if not torch.compiler.is_dynamo_compiling():
            with suppress(TypeError, ValueError):
                forward.__signature__ = inspect.signature(self.net.forward)  # type: ignore[attr-defined]
        return forward

    def _run(self, args: Any, kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return self._trace_forward(args, kwargs)
        weights, count = self.weights, len(self)
        key = self._signature(args, kwargs)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plan(args, kwargs, weights, count, trusted=key is None)
            if key is not None:
                self._plans[key] = plan
        mapped, step = plan
        if not mapped:
            return self._one_by_one(args, kwargs, weights, count)
        parts: list[Sequence[Tensor]] = []
        output: Output | None = None
        for begin in range(0, count, step):
            output, values = self._map_members(args, kwargs, {p: v[begin : begin + step] for p, v in weights.items()})
            parts.append(values)
        assert output is not None
        return output.stacked(parts[0] if len(parts) == 1 else [torch.cat(pieces) for pieces in zip(*parts, strict=True)])

    def extra_repr(self) -> str:
        weights = ", ".join(f"{path} {tuple(values.shape[1:])}" for path, values in self.weights.items())
        return f"{len(self)} draws of {self._title}: {weights}"

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        before = list(tensors_of(self.net))
        super()._apply(fn, recurse)
        after = list(tensors_of(self.net))
        if self._referring and any(old is not new for old, new in zip(before, after, strict=True)):
            self.net = relink(self.net, before, after)
        self._plans.clear()
        return self

    def _plan(self, args: Any, kwargs: Any, weights: Mapping[str, Tensor], count: int, *, trusted: bool) -> tuple[bool, int]:
        """Whether the network can be mapped on such inputs, and how many members at once.

        If vmap maps anything wrongly, it shows at the first member.
        """
        draws = {path: value[:2] for path, value in weights.items()}
        with torch.no_grad(), Meter() as meter:
            try:
                with drawing_from(torch.Generator().manual_seed(0)):
                    alone = Output(self._at({p: v[0] for p, v in weights.items()})(*args, **kwargs), self._title)
            except PredictionError:
                raise
            except Exception:
                if trusted:  # the inputs belong to a transformation around this call, and so does the error
                    return True, self.chunk or count
                raise
        step = self.chunk or max(1, min(count, BUDGET // max(1, meter.bytes)))
        if trusted:
            return True, step
        try:
            with torch.no_grad():
                output, values = self._map_members(args, kwargs, draws)
        except Exception:
            # Running the members one by one either avoids the error or raises it in terms of the network.
            return False, 1
        right = alone.same_structure(output) and agree(_number(alone.tensors), _number([value[0] for value in values]))
        return right, step

    def _map_members(self, args: Any, kwargs: Any, weights: Mapping[str, Tensor]) -> tuple[Output, Sequence[Tensor]]:
        """The output of one of some members, and its tensors for all of them, stacked."""
        found: list[Output] = []

        def run(values: Mapping[str, Tensor]) -> list[Tensor]:
            found[:] = [Output(self._at(values)(*args, **kwargs), self._title)]
            return found[0].tensors

        values = vmap(run, randomness="error")(weights)
        return found[0], values

    def _one_by_one(self, args: Any, kwargs: Any, weights: Mapping[str, Tensor], count: int) -> Any:
        """All outputs; each member's noise, in training mode, comes from a stream of its own."""
        noisy = any(part.training for part in self.net.modules())
        streams = np.random.SeedSequence(global_seed() if noisy else 0).generate_state(count, np.uint64).tolist()
        outputs: list[Output] = []
        for k in range(count):
            with drawing_from(torch.Generator().manual_seed(streams[k])):
                one = self._at({path: value[k] for path, value in weights.items()})(*args, **kwargs)
            outputs.append(Output(one, self._title))
            if not outputs[0].same_structure(outputs[k]):
                raise PredictionError(
                    f"{self._title} returns something of another structure or shape with the weights of draw {k} than with "
                    "those of the first. Outputs are stacked, so that all need the same: go through the networks one by "
                    "one, [one(x) for one in nets]."
                )
        return outputs[0].stacked([torch.stack(column) for column in zip(*(o.tensors for o in outputs), strict=True)])

    def _at(self, values: Mapping[str, Tensor]) -> nn.Module:
        if any(part.training for part in self.net.modules()):  # a layer may write into its buffers
            values = {path: value if path in self._origin.trained else value.clone() for path, value in values.items()}
        return at_values(self.net, values)

    def _trace_forward(self, args: Any, kwargs: Any) -> Any:
        """The forward pass for `torch.export` and `torch.compile`: all members at once, with nothing that looks at numbers."""
        weights = self.weights
        if self._referring:
            raise PredictionError(
                f"{self._title} keeps a parameter in an ordinary attribute as well, where torch.export and torch.compile "
                "cannot replace it for each draw. Read it from the module where it is registered."
            )
        if torch.compiler.is_dynamo_compiling():
            call = lambda values: functional_call(self.net, values, args, kwargs)
        else:
            call = lambda values: self._at(values)(*args, **kwargs)
        found: list[Output] = []

        def run(values: Mapping[str, Tensor]) -> list[Tensor]:
            found[:] = [Output(call(values), self._title)]
            return found[0].tensors

        mapped = not any(isinstance(part, nn.RNNBase) for part in self.net.modules())
        if mapped and not torch.compiler.is_dynamo_compiling():
            mapped = keeps_sizes_free(self.net, weights, args, kwargs)
        if mapped:
            values = torch.func.vmap(run, randomness="different")(weights)
            return found[0].stacked(values)
        rows = [run({path: value[k] for path, value in weights.items()}) for k in range(len(self))]
        return found[0].stacked([torch.stack(column) for column in zip(*rows, strict=True)])

    def _signature(self, args: Any, kwargs: Any) -> Any:
        """What decides how a call is computed; None inside a transformation of functions, which hides the values."""
        leaves, spec = tree_flatten((args, kwargs))
        if any(isinstance(leaf, Tensor) and is_wrapped(leaf) for leaf in leaves):
            return None
        modes = tuple(part.training for part in self.net.modules())
        shown = tuple((v.shape, v.dtype, v.device) if isinstance(v, Tensor) else repr(v) for v in leaves)
        return str(spec), shown, modes, self.chunk


def evenly_spaced(wanted: Any, count: int) -> list[int]:
    """The places of `wanted` of `count` draws, evenly spaced.

    Raises:
        PredictionError: `wanted` is not a whole number from 1 to `count`.

    Example:
        >>> evenly_spaced(3, 9)
        [0, 3, 6]
    """
    number = optional_number("members", wanted, 1)
    if number is None or number > count:
        raise PredictionError(f"`members` is {wanted!r}, but must be a whole number from 1 to {count}, the number of draws.")
    return [k * count // number for k in range(number)]


def _check(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    unknown = [path for path in weights if path not in own]
    if unknown or not weights:
        raise PredictionError(
            f"the network has no parameter {unknown[0]!r}.{suggestion(unknown[0], own)}"
            if unknown
            else "there are no draws of any parameter of the network. Lift some of them."
        )
    count = len(next(iter(weights.values())))
    for path, values in weights.items():
        if values.shape != (count, *own[path].shape):
            raise PredictionError(
                f"the draws of parameter {path!r} have shape {tuple(values.shape)}, but the network needs "
                f"{(count, *own[path].shape)}: draws first. Give the network that was sampled."
            )
    if not count:
        raise PredictionError("there are no draws: an ensemble needs at least one.")


def _number(values: Sequence[Tensor]) -> dict[str, Tensor]:
    return {str(i): value for i, value in enumerate(values)}
