"""`Objective`: the loss of one particle and its gradient as a function of parameters and noise, captured and compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.precision import in_double
from sursum.compiler.capture.capture import Capture
from sursum.compiler.check.faithful import check_seen
from sursum.compiler.function import Function, Inputs
from sursum.core.calling import valued
from sursum.handlers import ParamStore
from sursum.vi.elbo import ELBO
from sursum.vi.noise import Noise
from sursum.vi.particle import Pair, Program, pair
from sursum.vi.training import check_depends

Array = NDArray[np.float64]
_JITTER = 0.05
_PROOFS = 4


@dataclass(frozen=True)
class Objective:
    r"""−log w of one particle, and its gradient by the n trained coordinates.

    .. math:: (\lambda, \varepsilon) \mapsto \bigl(-\log w,\; -\nabla_\lambda \log w\bigr)

    Args:
        store: the parameters; their leaves, flattened and concatenated, are λ.
        names: the trained parameters, in the order of λ.
        kinds: the composition of the noise ε.
        inputs: the layout of λ, by parameter, and ε in q.
        particle: −log w at q, by the programs themselves.
        function: −log w, of shape (1,), and its gradient at q.
    """

    store: ParamStore
    names: tuple[str, ...]
    kinds: tuple[tuple[str, int], ...]
    inputs: Inputs
    particle: Callable[[Tensor], Tensor]
    function: Function

    @property
    def dim(self) -> int:
        """n, the number of trained coordinates."""
        return sum(self.store.unconstrained[name].numel() for name in self.names)

    @property
    def noise(self) -> int:
        """How many numbers one particle draws."""
        return sum(count for _, count in self.kinds)

    def coordinates(self) -> Array:
        """λ, the current leaves in one vector."""
        leaves = [self.store.unconstrained[name].detach().reshape(-1) for name in self.names]
        return np.ascontiguousarray(torch.cat(leaves).numpy())

    def write(self, coordinates: Array) -> None:
        """Copy λ into the leaves."""
        with torch.no_grad():
            for name, part in self.split(torch.from_numpy(coordinates)).items():
                self.store.unconstrained[name].copy_(part)

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """A vector of the shape of λ as tensors of the leaves' shapes."""
        parts, at = {}, 0
        for name in self.names:
            leaf = self.store.unconstrained[name]
            parts[name] = flat[at : at + leaf.numel()].reshape(leaf.shape)
            at += leaf.numel()
        return parts

    def loss_and_grad(self, q: Tensor) -> tuple[float, Tensor]:
        """The loss and its gradient at q = (λ, ε), by the available engine."""
        loss, slope = self.function(q)
        return float(loss), slope


@in_double()
def objective(
    loss: ELBO,
    model: Program,
    guide: Program,
    store: ParamStore,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    engine: str | None,
) -> Objective:
    """Capture the loss of a guide whose draws can all be differentiated.

    Args:
        engine: "torch", "native", or None for the fastest available.

    Raises:
        CaptureError: the programs are not a fixed graph of operators, or a draw is not a function of noise.
        CompileError: the native engine was requested but is not available.

    Warns:
        EngineWarning: the graph has no C.
    """
    names = tuple(name for name, leaf in store.unconstrained.items() if leaf.requires_grad)
    counting = Noise()
    with valued(), store, counting:
        pair(model, guide, args, kwargs)
    kinds = tuple(counting.kinds)
    noise = sum(count for _, count in kinds)
    inputs = Inputs.like(*(store.unconstrained[name] for name in names), torch.empty(noise))
    start = inputs.pack(*(store.unconstrained[name] for name in names), torch.zeros(noise))

    def at(leaves: Sequence[Tensor], noise: Tensor) -> Tensor:
        placed = store.unconstrained | dict(zip(names, leaves, strict=True))
        with _with_leaves(store, placed), Noise(noise):
            drawn: Pair = pair(model, guide, args, kwargs)
        return -loss.log_weight(drawn, None)

    @in_double()
    def particle(q: Tensor) -> Tensor:
        """−log w at q = (λ, ε)."""
        *leaves, noise = inputs.unpack(q)
        return at(leaves, noise)

    def with_gradient(q: Tensor) -> tuple[Tensor, ...]:
        *parts, noise = inputs.unpack(q)
        # A leaf for each parameter: the gradient by one vector would be a sum of vectors that are mostly zero.
        leaves = [part.detach().requires_grad_() for part in parts]
        value = at(leaves, noise)
        check_depends(value)
        slopes = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
        # One element and not a scalar: the loss is not a log density, whose C function has a different form.
        return value.reshape(1), torch.cat([slope.reshape(-1) for slope in slopes])

    rng = np.random.default_rng(0)

    def point() -> Tensor:
        away = rng.uniform(-_JITTER, _JITTER, len(start) - noise)
        return start + torch.from_numpy(np.concatenate([away, rng.uniform(0.05, 0.95, noise)]))

    points = point(), point()
    program = Capture(with_gradient, points, gradient=False)
    function = Function.of(program.graph)

    def alone(q: Tensor) -> tuple[Tensor, Tensor]:
        with valued():
            return particle(q).detach(), q.new_empty(0)

    def check() -> None:
        recorded = zip(points, program.found, strict=True)
        check_seen(function.recorded, function.known, alone, alone, recorded, [point()])

    title = f"loss of {getattr(guide, '__name__', type(guide).__name__)}"
    proofs = (point() for _ in range(_PROOFS))
    function = function.compiled(engine, title=title, outputs=("loss", "gradient"), proofs=proofs, check=check)
    return Objective(store, names, kinds, inputs, particle, function)


def _with_leaves(store: ParamStore, leaves: dict[str, Tensor]) -> ParamStore:
    """A store with the same parameters at other leaves."""
    other = ParamStore(double=store.double)
    other.sites, other.unconstrained = store.sites, leaves
    return other
