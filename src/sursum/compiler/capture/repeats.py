"""Log densities that a program computes again and again: the operators of the first, run for tensors of the same layout.

A loop of Python scores hundreds of sites of one family. On its way through torch's modes and Python each operator takes many
times as long as the operator itself, so the first density of a kind is recorded as everything is, and the operators of the
others, which are the same, are run and recorded one after the other, below those modes and above autograd.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor

from sursum import distributions as dist
from sursum.common.precision import NARROW
from sursum.common.torch_private import (
    DisableTorchDispatch,
    DisableTorchFunction,
    OpOverload,
    function_modes,
    is_wrapped,
    next_sequence_number,
    sum_rightmost,
)
from sursum.common.user_frame import Lines
from sursum.compiler.capture.branches import NOTHING_KNOWN, Answers
from sursum.compiler.capture.recorder import Recorder
from sursum.compiler.graph.graph import Node, Ref, Where, is_inner, refs_of
from sursum.compiler.recent import RECENT
from sursum.distributions.plain_densities import FAMILIES
from sursum.distributions.rebuild import tensors
from sursum.errors import CaptureError

aten = torch.ops.aten

_NOWHERE = Where(None, None)


@dataclass(frozen=True, slots=True)
class _Slot:
    """A tensor: one of the inputs, in order, or the result of an operator after them."""

    number: int


@dataclass(frozen=True, slots=True)
class Repeat:
    """The operators of a log density, each with its arguments, and which tensor is the result."""

    steps: tuple[tuple[OpOverload, tuple[Any, ...], Mapping[str, Any]], ...]
    result: int

    @classmethod
    def of(cls, inputs: Sequence[Ref | None], nodes: Sequence[Node], result: Ref | None) -> Repeat | None:
        """What was recorded as `nodes`; None where they use other tensors, parts of tensors, or write to one.

        Args:
            inputs: the tensors of the distribution and its value; None for one that is not used.
            nodes: all that was recorded of the density.
            result: the log density; None if that is unknown.
        """
        slots = {ref: _Slot(number) for number, ref in reversed(list(enumerate(inputs))) if ref is not None}
        steps = []
        for number, node in enumerate(nodes):
            args = tuple([slots.get(item, item) if isinstance(item, Ref) else item for item in node.args])
            used = sum(isinstance(item, _Slot) for item in args)
            if is_inner(node.op) or node.writes or used != len(refs_of(node)) or len(node.outputs) != 1:
                return None
            output = node.outputs[0]
            if output is None:
                return None
            slots[output] = _Slot(len(inputs) + number)
            steps.append((node.op, args, node.kwargs))
        return cls(tuple(steps), slots[result].number) if result in slots else None


class RepeatingRecorder(Recorder):
    """A recorder that records the log densities of a family and a layout of tensors once in this process."""

    def __init__(self, input: Tensor | None, current_site: Callable[[], Where], answers: Answers = NOTHING_KNOWN) -> None:
        super().__init__(input, current_site, answers)
        self._lines = Lines(within=sys._getframe(1).f_code)
        self._seen = 0  # number of operators, whether they became a node or not
        self._repeats: dict[Hashable, Repeat | None] = {}  # None for what cannot be repeated

    def _record(self, op: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self._seen += 1
        return super()._record(op, args, kwargs)

    def score(self, fn: Any, value: Any, plainly: Callable[[Any], Any]) -> Any:
        if type(fn) in (td.Independent, dist.Independent) and type(fn.base_dist) in FAMILIES:
            return sum_rightmost(self.score(fn.base_dist, value, plainly), fn.reinterpreted_batch_ndims)
        if type(fn) not in FAMILIES or "log_prob" in vars(fn) or function_modes() != 1:
            return plainly(fn)
        with DisableTorchFunction():  # which would cost more than all of this
            inputs = (*tensors(fn), value)
            layout = None if any(map(self._is_converted, inputs)) else _layout(inputs)
        if layout is None:
            return plainly(fn)
        key = type(fn), type(fn).log_prob, fn.batch_shape, torch.is_grad_enabled(), torch.get_default_dtype(), layout
        if key not in self._repeats:
            self._repeats[key] = RECENT.formula(key)
            if self._repeats[key] is None:
                found, repeat = self._first(inputs, lambda: plainly(fn))
                if repeat is not None:
                    RECENT.keep(key, repeat)
                self._repeats[key] = repeat
                return found
        repeat = self._repeats[key]
        return plainly(fn) if repeat is None else self._again(repeat, inputs)

    def _is_converted(self, item: Any) -> bool:
        """Whether there is a double of narrow data, or must be one that autograd follows."""
        return isinstance(item, Tensor) and item.dtype in NARROW and (item.requires_grad or id(item) in self._converted)

    def _first(self, inputs: Sequence[Tensor], run: Callable[[], Any]) -> tuple[Any, Repeat | None]:
        """The result of `run`, and what was recorded of it; None if that cannot be repeated."""
        nodes, seen = len(self._nodes), self._seen
        out = run()
        made = self._nodes[nodes:]
        if self._seen - seen != len(made) or type(out) is not Tensor:  # of views, checks and the like there are no nodes
            return out, None
        with DisableTorchFunction():
            pairs = [(item, self._known(item)) for item in (*inputs, out)]
            refs = [None if value is None else self._window(item, value, "", self._where()) for item, value in pairs]
        return out, Repeat.of(refs[:-1], made, refs[-1])

    def _again(self, repeat: Repeat, inputs: Sequence[Tensor]) -> Tensor:
        """The result of the same operators for other tensors, recorded."""
        where, found = self._where(), list(inputs)
        with DisableTorchFunction(), DisableTorchDispatch():
            for op, pattern, kwargs in repeat.steps:
                args = [found[item.number] if type(item) is _Slot else item for item in pattern]
                if op is aten._to_copy.default and args[0].dtype in NARROW:  # for all that reads these data afterwards
                    found.append(self._convert(args[0]))
                    continue
                found.append(self._below(op, args, kwargs, where))
        return found[repeat.result]

    def _below(self, op: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], where: Where) -> Tensor:
        """The new tensor that an operator computes, recorded, where no mode sees it."""
        out: Tensor = self._compute(op, args, kwargs, self._facts_of(op)[0], where)
        self._forward.setdefault(next_sequence_number() - 1, where)
        return out

    # What checks of arguments need, outside of all modes.

    def pass_by(self) -> None:
        """Told of an operator that is not recorded."""
        self._seen += 1

    def traced_as(self, tensor: Tensor) -> Ref | None:
        """The window on a traced value that a tensor is; None for data."""
        value = self._known(tensor)
        return self._window(tensor, value, "", _NOWHERE) if value is not None and value.id in self._traced else None

    def record_below(self, op: OpOverload, args: Sequence[Any]) -> Tensor:
        """The new tensor that an operator computes, recorded."""
        self._seen += 1
        return self._below(op, args, {}, self._where())

    def look_below(self, op: OpOverload, tensor: Tensor) -> Any:
        """What Python sees of a traced tensor, where it may look."""
        self._seen += 1
        where = self._where()
        ref = self._refs(tensor, [], self._facts_of(op)[0], where)
        try:
            return self._look(op, (tensor,), {}, ref, (ref,), where)
        except CaptureError as error:
            self.failure = self.failure or error
            raise


def _layout(inputs: Sequence[Any]) -> tuple[Any, ...] | None:
    """What decides which operators run for these tensors, and which of them are one tensor; None if one is none, or special.

    Of two with the same numbers a recording does not tell which was used, and where one has a gradient that of the other may be
    different, such as none after `detach`: None.
    """
    if not all(type(item) is Tensor and not is_wrapped(item) for item in inputs):
        return None
    places: dict[tuple[Any, ...], int] = {}
    found = [(item.requires_grad, places.setdefault(_window(item), number)) for number, item in enumerate(inputs)]
    again = [(number, place) for number, (_, place) in enumerate(found) if place != number]
    if any(inputs[number].requires_grad or inputs[place].requires_grad for number, place in again):
        return None
    return tuple([(item.shape, item.stride(), item.dtype, *facts) for item, facts in zip(inputs, found, strict=True)])


def _window(item: Tensor) -> tuple[Any, ...]:
    return item.untyped_storage()._cdata, item.storage_offset(), item.shape, item.stride()
