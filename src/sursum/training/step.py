r"""`TrainingStep`: a loss and its gradient by parameters, batch and seed, captured once for each shape of the batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sursum.common.user_frame import warn
from sursum.distributions.randomness import drawing_from
from sursum.errors import CaptureError, EngineWarning
from sursum.training.batch import Batch
from sursum.training.indices import Request, Subsamples, draw_indices
from sursum.training.replayed import Replayed, TrainedPoint, replayed
from sursum.training.together import Together

#: From the trained tensors, the state and the arguments to the loss, of one element.
Loss = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], tuple[Any, ...], dict[str, Any]], Tensor]

#: Told of the gradient by one trained tensor, by its name.
Ready = Callable[[str, Tensor], None]

#: How many shapes of batches are captured; from then on a new shape is run as it is.
SHAPES = 8
_JITTER = 0.05


@dataclass(frozen=True)
class Graded:
    """A loss, of no dimension, and its gradient by each trained tensor, in its dtype and on its device."""

    loss: Tensor
    gradients: Mapping[str, Tensor]


@dataclass(frozen=True)
class _Captured:
    replay: Replayed
    requests: tuple[Request, ...]


class TrainingStep:
    """A loss and its gradient, captured at the first call with a batch of a new shape.

    Args:
        loss: the loss, run under autograd; plates' subsamples and draws inside it come from the seed of the call. It must not
            change its arguments, but may write into the state.
        engine: "torch": the captured operators, run one after another; "eager": the function itself; None: the captured
            operators where it can be captured, otherwise the function itself, with a warning that says why.
        title: what it is called in messages.

    Example:
        >>> def loss(trained, state, args, kwargs):
        ...     return ((args[0] @ trained["w"]) ** 2).mean()
        >>> step = TrainingStep(loss)
        >>> found = step({"w": torch.ones(2)}, (torch.tensor([[1.0, 2.0]]),), seed=0)
        >>> float(found.loss), found.gradients["w"].tolist(), step.engine
        (9.0, [6.0, 12.0], 'torch')
    """

    def __init__(self, loss: Loss, *, engine: str | None = None, title: str = "the program") -> None:
        self._loss, self._asked, self._title = loss, engine, title
        self._known: dict[Hashable, _Captured] = {}
        self._together: dict[Hashable, Together] = {}
        self.engine = "eager" if engine == "eager" else "torch"
        self.why: str | None = None

    def __call__(
        self,
        trained: Mapping[str, Tensor],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        seed: int,
        state: Mapping[str, Tensor] | None = None,
    ) -> Graded:
        """The loss and its gradient on this batch.

        Args:
            trained: the tensors by which the loss is differentiated, by name; the same names and shapes in every call.
            args, kwargs: the batch: its tensors are inputs, of shapes for which the step is captured once.
            seed: of noise and of subsamples: the same seed gives the same numbers.
            state: tensors that the loss may update, such as running averages; they are written into.

        Raises:
            CaptureError: `engine="torch"` was asked for, and the program is not a fixed graph of operators.
            DensityError: a check of arguments fails.

        Warns:
            EngineWarning: the function itself is run, for a reason that the warning names.
        """
        kwargs, state = kwargs or {}, state or {}
        batch = self.prepare(trained, args, kwargs, seed=seed, state=state)
        if batch is None:
            return self.run(trained, args, kwargs, seed=seed, state=state)
        return self.on(batch, trained, seed=seed, state=state)

    def on(
        self,
        batch: Batch,
        trained: Mapping[str, Tensor],
        *,
        seed: int,
        state: Mapping[str, Tensor],
        ready: Ready | None = None,
    ) -> Graded:
        """The loss and its gradient by the operators that were captured for this shape; see `__call__`.

        Args:
            ready: called with each gradient as soon as it is known, while others are still being computed.
        """
        captured = self._known[batch.key]
        indices = draw_indices(captured.requests, seed, next(iter(trained.values())).device)
        inputs = (*trained.values(), *batch.tensors, *indices, *state.values())
        names = list(trained)
        told = None if ready is None else lambda number, slope: ready(names[number], slope)
        loss, *slopes = captured.replay(inputs, seed, told)
        return Graded(loss.reshape(()), dict(zip(trained, slopes, strict=True)))

    def at_all(
        self, batches: Sequence[Batch], trained: Mapping[str, Tensor], *, seeds: Sequence[int], state: Mapping[str, Tensor]
    ) -> Graded:
        """The losses and gradients at several points in one pass, (point, *shape), by the operators captured for this shape.

        Args:
            batches: of each point, all of one shape; those that are the same tensor are read once.
            trained, state: (point, *shape); the state is updated.
            seeds: of the subsamples of each point.

        Raises:
            CaptureError: the step draws numbers, or an operator cannot be mapped.
            DensityError: a check of arguments fails.
        """
        captured, device = self._known[batches[0].key], next(iter(trained.values())).device
        columns = list(zip(*(batch.tensors for batch in batches), strict=True))
        same = [all(tensor is column[0] for tensor in column) for column in columns]
        data = [column[0] if one else torch.stack(column) for column, one in zip(columns, same, strict=True)]
        rows = [draw_indices(captured.requests, seed, device) for seed in seeds]
        indices = [torch.stack(column) for column in zip(*rows, strict=True)]
        inputs = (*trained.values(), *data, *indices, *state.values())
        key = (batches[0].key, len(batches), tuple(same))
        if key not in self._together:
            mapped = [*(True for _ in trained), *(not one for one in same), *(True for _ in indices), *(True for _ in state)]
            self._together[key] = Together(captured.replay, inputs, mapped, len(state))
        losses, *slopes = self._together[key](inputs)
        return Graded(losses.reshape(-1), dict(zip(trained, slopes, strict=True)))

    def prepare(
        self,
        trained: Mapping[str, Tensor],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        state: Mapping[str, Tensor] | None = None,
    ) -> Batch | None:
        """Capture the step for batches of this shape, if it is not; None where the function itself is to be run."""
        if self.engine == "eager":
            return None
        try:
            batch = Batch.of(args, kwargs or {})
            if batch.key not in self._known:
                if len(self._known) >= SHAPES:
                    return None
                self._known[batch.key] = self._capture(trained, state or {}, batch, seed)
            return batch
        except CaptureError as error:
            if self._asked is not None:
                raise
            self.engine, self.why = "eager", str(error)
            warn(f"{self._title} is run by Python at every step, which is slow: {error}", EngineWarning)
            return None

    def run(
        self,
        trained: Mapping[str, Tensor],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        seed: int,
        state: Mapping[str, Tensor] | None = None,
    ) -> Graded:
        """The same by the function itself and by autograd."""
        with torch.inference_mode(False), torch.enable_grad():
            leaves = {name: tensor.detach().requires_grad_() for name, tensor in trained.items()}
            with self.seeded(seed, trained):
                value = self._loss(leaves, state or {}, tuple(args), dict(kwargs or {}))
            slopes = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
        return Graded(value.detach().reshape(()), dict(zip(leaves, slopes, strict=True)))

    @contextmanager
    def seeded(self, seed: int, trained: Mapping[str, Tensor]) -> Iterator[None]:
        """Run programs inside with the draws and the subsamples of a step of this seed."""
        device = next(iter(trained.values())).device
        requests: list[Request] = []
        with (
            Subsamples(asked=requests, given=_Drawn(requests, seed, device)),
            drawing_from(torch.Generator(device).manual_seed(seed)),
        ):
            yield

    def _capture(self, trained: Mapping[str, Tensor], state: Mapping[str, Tensor], batch: Batch, seed: int) -> _Captured:
        device = next(iter(trained.values())).device
        requests: list[Request] = []
        names, count = tuple(trained), len(batch.tensors)
        with torch.no_grad(), Subsamples(asked=requests), drawing_from(torch.Generator(device).manual_seed(seed)):
            self._loss(trained, {name: tensor.clone() for name, tensor in state.items()}, *batch.arguments(batch.tensors))
        asked = tuple(requests)

        def loss(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
            leaves = dict(zip(names, inputs, strict=False))
            tensors = inputs[len(names) : len(names) + count]
            indices = inputs[len(names) + count : len(names) + count + len(asked)]
            kept = dict(zip(state, inputs[len(inputs) - len(state) :], strict=True)) if state else {}
            with Subsamples(asked=[], given=indices):
                return (self._loss(leaves, kept, *batch.arguments(tensors)).reshape(()),)

        generator = torch.Generator(device).manual_seed(seed)

        def point(number: int) -> TrainedPoint:
            leaves = [tensor.detach() for tensor in trained.values()]
            if number:
                leaves = [leaf + _JITTER * torch.empty_like(leaf).uniform_(-1, 1, generator=generator) for leaf in leaves]
            tensors = [_alone(tensor.roll(number, 0) if tensor.dim() else tensor) for tensor in batch.tensors]
            indices = draw_indices(asked, seed + number, device)
            return TrainedPoint((*leaves, *tensors, *indices, *(tensor.clone() for tensor in state.values())), seed + number)

        return _Captured(replayed(loss, (point(0), point(1)), len(names), len(state)), asked)


class _Drawn(Sequence[Tensor]):
    """Indices that are drawn when a plate asks for them; all of a step's come from one seed, in order."""

    def __init__(self, requests: list[Request], seed: int, device: torch.device) -> None:
        self._requests, self._seed, self._device = requests, seed, device

    def __len__(self) -> int:
        return len(self._requests)

    def __getitem__(self, place: Any) -> Any:
        return draw_indices(self._requests, self._seed, self._device)[place]


def _alone(tensor: Tensor) -> Tensor:
    """A copy in memory of its own, row-major."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)
