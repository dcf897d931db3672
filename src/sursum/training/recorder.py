"""Record a training step as it is: in the program's own precision, on its device, with several inputs and with its draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sursum.common.torch_private import OpOverload
from sursum.compiler.capture import refusals
from sursum.compiler.capture.borrowed import Borrowed
from sursum.compiler.capture.decompositions import Decomposition
from sursum.compiler.capture.operators import Operator
from sursum.compiler.capture.recorder import Recorder
from sursum.compiler.capture.selection import SelectByTensor
from sursum.compiler.capture.where import site_at_work
from sursum.compiler.graph.graph import Graph, Ref, Where
from sursum.distributions.randomness import drawing_from
from sursum.errors import CaptureError, EscapeError, SursumError

#: Storages by their address, each as a 1-d tensor that shares its memory.
Lent = dict[int, Tensor]


@dataclass(frozen=True)
class Recording:
    """The graph of a step, the windows on it that its inputs are, and the numbers of its outputs."""

    graph: Graph
    inputs: tuple[Ref, ...]
    found: tuple[Tensor, ...]


def record(
    loss: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    inputs: Sequence[Tensor],
    trained: int,
    state: int,
    generator: torch.Generator,
    lent: Lent,
) -> Recording:
    """The graph of one run of a step.

    Args:
        loss: from the inputs to the loss, of one element, and other results.
        inputs: tensors, each alone in its memory. By the first `trained` of them the loss is differentiated; the last `state`
            of them may be written into.
        generator: what the program draws comes from it.
        lent: the data from outside that a recording has met, which it reads where they are.

    Returns:
        A graph whose outputs are the loss, its gradient by each trained input, the other results, and the state afterwards.

    Raises:
        BranchError, EscapeError, CaptureError: as in `capture`.
        VariationalError: the loss depends on no trained input.
    """
    with torch.inference_mode(False), torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in inputs[:trained]]
        given = [*leaves, *(tensor.detach() for tensor in inputs[trained:])]
        recorder = StepRecorder(given, state, generator, lent)
        with SelectByTensor(recorder.traces), recorder, drawing_from(generator), _explain(recorder):
            value, *others = loss(given)
            recorder.end_program((value, *others))
            slopes: Sequence[Tensor] = ()
            if value.requires_grad and leaves:
                slopes = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
        after = [recorder.latest(ref) for ref in recorder.inputs[len(given) - state :]]
        outputs = (value, *slopes, *others)
        graph = recorder.graph(outputs)
        return Recording(
            Graph(graph.values, graph.input, graph.constants, graph.nodes, graph.guards, (*graph.outputs, *after)),
            recorder.inputs,
            tuple(output.detach() for output in outputs),
        )


class StepRecorder(Recorder):
    """Records operators in the dtypes that the program gives them.

    Data from outside are not copied: the graph reads them where they are. Draws are operators, from `generator`.
    """

    widens = False

    def __init__(self, inputs: Sequence[Tensor], state: int, generator: torch.Generator, lent: Lent) -> None:
        super().__init__(None, site_at_work)
        self._generator = generator
        self._borrowed = _Lender(lent)
        self.inputs = tuple(self._window(tensor, self._values[self.enter(tensor)], "", Where(None, None)) for tensor in inputs)
        self._outside.update(ref.value for ref in self.inputs[: len(inputs) - state])

    def latest(self, ref: Ref) -> Ref:
        """The window `ref` on the newest version of its memory."""
        value = self._newest[self._storages[ref.value].address]
        return Ref(value.id, ref.size, ref.stride, ref.offset, ref.dtype)

    def _decomposition(self, op: OpOverload) -> Decomposition | None:
        return None  # torch runs every operator itself

    def _refuse(self, facts: Operator, args: Sequence[Any], kwargs: Mapping[str, Any], where: Where) -> None:
        if facts.updates_statistics(args, kwargs) and not self._is_own(facts.argument("running_mean", args, kwargs)):
            raise refusals.batch_norm(facts.name, where)
        if facts.rebinds:
            raise refusals.rebinding(facts.name, where)
        if facts.draws(args, kwargs) and self._refs(kwargs.get("generator"), [], facts, where) is not self._generator:
            raise CaptureError(
                f"{facts.name} draws from a generator of its own{refusals.place(where)}, and not from the step's."
            )

    def _is_own(self, tensor: Tensor) -> bool:
        """Whether the run itself has made a tensor, as `module` does with the buffers of layers in training mode."""
        value = self._known(tensor)
        return value is not None and value.id not in self._outside and value.id not in self._constants

    def _refs(self, item: Any, reads: list[Ref], facts: Operator, where: Where) -> Any:
        if isinstance(item, torch.Generator):  # each call has another object for the same generator
            return self._generator if item._cdata == self._generator._cdata else item  # type: ignore[attr-defined]
        return super()._refs(item, reads, facts, where)


class _Lender(Borrowed):
    """Data from outside that a graph reads where they are."""

    def __init__(self, lent: Lent) -> None:
        super().__init__()
        self._lent = lent

    def copied(self, graph: Graph) -> Graph:
        constants = dict(graph.constants)
        for id, tensor in self._tensors.items():
            if self._windows[id]:
                address, numel = tensor.untyped_storage()._cdata, graph.values[id].numel
                constants[id] = self._lent.setdefault(address, tensor.as_strided((numel,), (1,), 0))
        return Graph(graph.values, graph.input, constants, graph.nodes, graph.guards, graph.outputs)


@contextmanager
def _explain(recorder: Recorder) -> Iterator[None]:
    """Raise the recorder's own error where an interpreter or NumPy has put it into other words."""
    try:
        yield
    except NotImplementedError as error:
        if "HigherOrderOperator" in str(error):
            raise CaptureError(f"the program uses an operator that takes functions: {error}") from error
        raise
    except RuntimeError as error:
        if recorder.failure is not None and not isinstance(error, SursumError):
            raise recorder.failure from error
        if "numpy()" in str(error):
            raise EscapeError(f"a value that depends on the inputs of the step left torch: {error}") from error
        raise
