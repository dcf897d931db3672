"""A captured step at several points at once: its operators mapped over a leading dimension, and recorded as torch runs them.

Mapping takes as long as many small operators, so it happens once: what is replayed are the operators that it ended in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sursum.common.vmap import vmap
from sursum.compiler.capture.operators import updates_statistics
from sursum.compiler.capture.refusals import place
from sursum.compiler.graph.cse import merge_equal_nodes
from sursum.compiler.graph.graph import Guard
from sursum.compiler.graph.python_codegen import mapped_step_line, step_line
from sursum.errors import CaptureError, DensityError
from sursum.training.folding import draws, fold_steps
from sursum.training.recorder import record
from sursum.training.replayed import Replayed
from sursum.training.simplify import simplify


class Together:
    """A captured step, mapped.

    Args:
        alone: the step at one point; nothing in it is drawn.
        inputs: those of the first call: (point, *shape) where `mapped` says so, and otherwise the same for all points.
        state: how many of the last inputs it writes into.

    Raises:
        CaptureError: it draws numbers, or an operator cannot be mapped.
    """

    def __init__(self, alone: Replayed, inputs: Sequence[Tensor], mapped: Sequence[bool], state: int) -> None:
        graph = alone.graph
        if any(map(draws, graph.nodes)):
            raise CaptureError("the program draws numbers in a step, and each chain has its own")
        if any(map(updates_statistics, graph.nodes)):  # in place, which vmap would not see
            raise CaptureError("a batch norm in training mode writes its running averages")
        self._guards: tuple[Guard, ...] = graph.guards
        self._state, self._count = state, len(graph.outputs)
        whole = replace(graph, guards=(), outputs=(*graph.outputs, *(guard.ref for guard in graph.guards)))
        run = mapped_step_line(whole, alone.inputs, [k for k, one in enumerate(mapped) if one])
        marker = next(tensor for tensor, one in zip(inputs, mapped, strict=True) if one)
        points, device = len(marker), marker.device

        def outputs(given: Sequence[Tensor]) -> tuple[Tensor, ...]:
            zeros = torch.zeros(points, device=device)
            return tuple(vmap(run, in_dims=(0, *(0 if one else None for one in mapped)))(zeros, *given))

        apart = [tensor.detach().clone(memory_format=torch.contiguous_format) for tensor in inputs]
        try:
            found = record(outputs, apart, 0, 0, torch.Generator(device), {})
        except (RuntimeError, NotImplementedError) as error:
            raise CaptureError(f"the step cannot be mapped over chains: {error}") from error
        self.graph = simplify(merge_equal_nodes(fold_steps(found.graph, found.inputs, device)))
        self._run = step_line(self.graph, found.inputs)[1]

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The losses, (point,), and the gradients, (point, *shape), by each trained input; the state is updated.

        Raises:
            DensityError: a check of arguments fails at one of the points.
        """
        _, found = self._run(None, *inputs)
        for guard, holds in zip(self._guards, found[self._count :], strict=True):
            if not bool(holds.all() if guard.kind == "true" else not holds.any()):
                raise DensityError(f"a check of arguments fails{place(guard.where)}, so the loss is not defined there.")
        results = found[: self._count]
        if not self._state:
            return results
        for kept, now in zip(inputs[-self._state :], results[-self._state :], strict=True):
            kept.copy_(now)
        return results[: -self._state]
