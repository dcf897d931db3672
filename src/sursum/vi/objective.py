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
from sursum.compiler.capture.capture import capture
from sursum.compiler.compiled import _site
from sursum.compiler.graph.pipeline import double
from sursum.compiler.graph.replay import Replay
from sursum.compiler.native import NativeFunction, ProofError, build
from sursum.compiler.native.proof import disagreement
from sursum.core.calling import valued
from sursum.errors import CaptureError, CompileError
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
        store: has the parameters; their leaves, flattened one after the other, are λ.
        names: of the trained parameters, in the order of λ.
        kinds: what the noise ε is made of.
        replay: the captured graph in double precision, run by torch.
        native: the same in C; None where torch runs it.
    """

    store: ParamStore
    names: tuple[str, ...]
    kinds: tuple[tuple[str, int], ...]
    particle: Callable[[Tensor], Tensor]
    replay: Replay
    native: NativeFunction | None

    @property
    def dim(self) -> int:
        """n, the number of trained coordinates."""
        return sum(self.store.unconstrained[name].numel() for name in self.names)

    @property
    def noise(self) -> int:
        """How many numbers one particle draws."""
        return sum(count for _, count in self.kinds)

    def coordinates(self) -> Array:
        """λ, the present leaves in one vector."""
        leaves = [self.store.unconstrained[name].detach().reshape(-1) for name in self.names]
        return np.ascontiguousarray(torch.cat(leaves).numpy())

    def write(self, coordinates: Array) -> None:
        """Make λ the leaves."""
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
        """The loss and its gradient at q = (λ, ε), by whichever engine there is."""
        if self.native is not None:
            outputs = self.native.outputs(q.numpy())
            return float(outputs[0][0]), torch.from_numpy(outputs[1])
        loss, slope = self.replay(q)
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
        engine: "torch" for the graph's replay; "native", or None, for C.

    Raises:
        CaptureError: the programs are no fixed graph of operators, or draw what is no function of noise.
        CompileError: the graph has no C.
    """
    names = tuple(name for name, leaf in store.unconstrained.items() if leaf.requires_grad)
    start = torch.cat([store.unconstrained[name].detach().reshape(-1) for name in names])
    counting = Noise()
    with valued(), store, counting:
        pair(model, guide, args, kwargs)
    kinds = tuple(counting.kinds)
    n, k = len(start), sum(count for _, count in kinds)

    def parts(q: Tensor) -> list[Tensor]:
        """λ by parameter, each flat."""
        return list(q[:n].split([store.unconstrained[name].numel() for name in names]))

    def at(flat: Sequence[Tensor], noise: Tensor) -> Tensor:
        leaves = dict(store.unconstrained)
        leaves |= {name: part.reshape(leaves[name].shape) for name, part in zip(names, flat, strict=True)}
        with _with_leaves(store, leaves), Noise(noise):
            drawn: Pair = pair(model, guide, args, kwargs)
        return -loss.log_weight(drawn, None)

    @in_double()
    def particle(q: Tensor) -> Tensor:
        """−log w at q = (λ, ε)."""
        return at(parts(q), q[n:])

    def with_gradient(q: Tensor) -> tuple[Tensor, ...]:
        # A leaf for each parameter: the gradient by one vector would be a sum of vectors of zeros but for a part each.
        flat = [part.detach().requires_grad_() for part in parts(q)]
        value = at(flat, q[n:])
        check_depends(value)
        slopes = torch.autograd.grad(value, flat, allow_unused=True, materialize_grads=True)
        # One element and not a scalar: the loss is no log density, whose C function has another form.
        return value.reshape(1), torch.cat(slopes)

    rng = np.random.default_rng(0)

    def point() -> Tensor:
        away = torch.from_numpy(rng.uniform(-_JITTER, _JITTER, n))
        normal = torch.from_numpy(rng.uniform(0.05, 0.95, k))
        return torch.cat([start + away, normal])

    points = point(), point()
    graph = double(capture(with_gradient, points, gradient=False, current_site=_site))
    replay = Replay(graph)
    _check_replay(replay, particle, points)
    native = None
    if engine != "torch":
        native = build(graph, title=f"loss of {getattr(guide, '__name__', type(guide).__name__)}")
        _prove(native, replay, [point() for _ in range(_PROOFS)])
    return Objective(store, names, kinds, particle, replay, native)


def _with_leaves(store: ParamStore, leaves: dict[str, Tensor]) -> ParamStore:
    """A store with the same parameters at other leaves."""
    other = ParamStore(double=store.double)
    other.sites, other.unconstrained = store.sites, leaves
    return other


def _check_replay(replay: Replay, particle: Callable[[Tensor], Tensor], points: Sequence[Tensor]) -> None:
    for q in points:
        with valued():
            wanted = float(particle(q).detach())
        found = float(replay(q)[0])
        if np.isfinite(wanted) and not abs(found - wanted) <= 1e-2 * max(1.0, abs(wanted)):
            raise CaptureError(
                f"the captured graph gives a loss of {found} where the programs themselves give {wanted}. This is a fault of "
                "sursum's capture: please report it."
            )


def _prove(native: NativeFunction, replay: Replay, points: Sequence[Tensor]) -> None:
    """Compare the C with the graph.

    Raises:
        ProofError: they disagree; a fault of ours.
    """
    for k, q in enumerate(points):
        for what, found, wanted in zip(("loss", "gradient"), native.outputs(q.numpy()), replay(q), strict=True):
            wrong = disagreement(found, wanted.double().numpy())
            if wrong:
                raise ProofError(
                    f"the compiled {what} disagrees with the captured graph at proof point {k}: {wrong}. This is a fault of "
                    "sursum's native engine: please report it; engine='torch' is right"
                )


__all__ = ["CompileError", "Objective", "objective"]
