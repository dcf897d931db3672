"""A step in double precision as a function of one vector: parameters, noise, indices and batch, captured and compiled to C."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.precision import in_double
from sursum.compiler.capture.capture import Capture
from sursum.compiler.check.faithful import check_seen
from sursum.compiler.function import Function, Inputs
from sursum.core.calling import valued
from sursum.errors import DensityError
from sursum.training.batch import Batch
from sursum.training.indices import Request, Subsamples, choose_rows, draw_indices
from sursum.training.noise import Noise, block
from sursum.training.training import check_depends

Array = NDArray[np.float64]

#: From the trained tensors, in double, and a batch to the loss, of one element.
PackedLoss = Callable[[Mapping[str, Tensor], Sequence[Tensor]], Tensor]

_JITTER = 0.05
_PROOFS = 4


@dataclass(frozen=True)
class Packed:
    r"""A loss, and its gradient by the n trained coordinates.

    .. math:: (\lambda, \varepsilon, i, x) \mapsto \bigl(f,\; \nabla_\lambda f\bigr)

    Args:
        leaves: the trained tensors, flattened and concatenated in this order: λ.
        kinds: the composition of the noise ε.
        requests: the indices i of subsampled plates, how many of how many.
        inputs: the layout of all that, and of the batch x, in q.
        value: f at q, by the programs themselves.
        function: f, of shape (1,), and its gradient at q.
    """

    leaves: Mapping[str, Tensor]
    kinds: tuple[tuple[str, int], ...]
    requests: tuple[Request, ...]
    inputs: Inputs
    value: Callable[[Tensor], Tensor]
    function: Function

    @property
    def dim(self) -> int:
        """n, the number of trained coordinates."""
        return sum(leaf.numel() for leaf in self.leaves.values())

    @property
    def noise(self) -> int:
        """How many random numbers one evaluation takes, without indices."""
        return sum(count for _, count in self.kinds)

    @property
    def width(self) -> int:
        """How many numbers besides λ one evaluation takes."""
        return sum(self.inputs.sizes) - self.dim

    def coordinates(self) -> Array:
        """λ, the current leaves in one vector of doubles."""
        flat = [leaf.detach().reshape(-1).double() for leaf in self.leaves.values()]
        return np.ascontiguousarray(torch.cat(flat).numpy())

    def write(self, coordinates: Array) -> None:
        """Copy λ into the leaves."""
        with torch.no_grad():
            for name, part in self.split(torch.from_numpy(coordinates)).items():
                self.leaves[name].copy_(part)

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """A vector of the shape of λ as tensors of the leaves' shapes."""
        parts, at = {}, 0
        for name, leaf in self.leaves.items():
            parts[name] = flat[at : at + leaf.numel()].reshape(leaf.shape)
            at += leaf.numel()
        return parts

    def graded(self, point: Array, seed: int) -> tuple[float, Array]:
        """The loss without a batch and its gradient at λ, with the draws of a seed and the subsamples of a step of that seed.

        Raises:
            DensityError: a check of arguments fails.
        """
        native = self.function.native
        assert native is not None
        drawn = [block(self.kinds, 1, seed).numpy()[0]] if self.kinds else []
        row = np.concatenate([point, *drawn, *choose_rows(self.requests, seed)])
        loss, slope = native.outputs(row)
        if np.isnan(loss[0]) and not native.holds(row):
            raise DensityError("a check of arguments fails, so the loss is not defined at these parameters.")
        return float(loss[0]), slope

    def loss_and_grad(self, q: Tensor) -> tuple[float, Tensor]:
        """The loss and its gradient at q, by the available engine."""
        loss, slope = self.function(q)
        return float(loss), slope


@in_double()
def packed(loss: PackedLoss, leaves: Mapping[str, Tensor], batch: Batch | None, engine: str | None, title: str) -> Packed:
    """Capture and compile a loss whose draws are all functions of normal and uniform numbers.

    Args:
        leaves: the trained tensors.
        batch: the arguments of the program that are inputs; None if they are fixed.
        engine: "torch", "native", or None for the fastest available.
        title: of the C text.

    Raises:
        CaptureError: the programs are not a fixed graph of operators, or a draw is not a function of noise.
        CompileError: the native engine was requested but is not available.

    Warns:
        EngineWarning: the graph has no C.
    """
    tensors = () if batch is None else batch.tensors
    counting, asked = Noise(), list[Request]()
    wide = {name: leaf.detach().double() for name, leaf in leaves.items()}
    with valued(), Subsamples(asked=asked), counting:
        loss(wide, tensors)
    kinds, requests = tuple(counting.kinds), tuple(asked)
    noise = sum(count for _, count in kinds)
    places = draw_indices(requests, 0, torch.device("cpu"))
    inputs = Inputs.like(*wide.values(), torch.empty(noise), *places, *tensors)
    names, count = tuple(leaves), len(leaves)

    def at(trained: Sequence[Tensor], rest: Sequence[Tensor]) -> Tensor:
        indices, given = rest[1 : 1 + len(requests)], rest[1 + len(requests) :]
        with Subsamples(asked=[], given=indices), Noise(rest[0]):
            return loss(dict(zip(names, trained, strict=True)), given)

    @in_double()
    def value(q: Tensor) -> Tensor:
        parts = inputs.unpack(q)
        return at(parts[:count], parts[count:])

    def with_gradient(q: Tensor) -> tuple[Tensor, ...]:
        parts = inputs.unpack(q)
        # A leaf for each parameter: the gradient by one vector would be a sum of vectors that are mostly zero.
        trained = [part.detach().requires_grad_() for part in parts[:count]]
        found = at(trained, parts[count:])
        check_depends(found)
        slopes = torch.autograd.grad(found, trained, allow_unused=True, materialize_grads=True)
        # One element and not a scalar: the loss is not a log density, whose C function has a different form.
        return found.reshape(1), torch.cat([slope.reshape(-1) for slope in slopes])

    rng = np.random.default_rng(0)
    turns = 0

    def point() -> Tensor:
        nonlocal turns
        numbers = torch.from_numpy(rng.uniform(0.05, 0.95, noise))
        drawn = draw_indices(requests, turns, torch.device("cpu"))
        rolled = [tensor.roll(turns, 0) if tensor.dim() else tensor for tensor in tensors]
        turns += 1
        away = [leaf + torch.from_numpy(rng.uniform(-_JITTER, _JITTER, tuple(leaf.shape))) for leaf in wide.values()]
        return inputs.pack(*away, numbers, *drawn, *rolled)

    points = point(), point()
    program = Capture(with_gradient, points, gradient=False)
    function = Function.of(program.graph)

    def alone(q: Tensor) -> tuple[Tensor, Tensor]:
        with valued():
            return value(q).detach(), q.new_empty(0)

    def check() -> None:
        recorded = zip(points, program.found, strict=True)
        check_seen(function.recorded, function.known, alone, alone, recorded, [point()])

    proofs = (point() for _ in range(_PROOFS))
    function = function.compiled(engine, title=title, outputs=("loss", "gradient"), proofs=proofs, check=check)
    return Packed(leaves, kinds, requests, inputs, value, function)
