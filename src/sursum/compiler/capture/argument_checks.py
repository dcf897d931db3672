"""torch's checks of the arguments of distributions: a comparison, `all`, and a look, hundreds of times in a loop of Python.

On its way through torch's modes each of the three takes many times as long as itself. They are made below the modes here. One
of data alone is not recorded, for it holds or fails now, at every q. One that was made before, of the same tensor, is recorded
once; it is asked again, as every check is, whether the program goes on where it fails.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.common.torch_private import (
    DisableTorchDispatch,
    DisableTorchFunction,
    OpOverload,
    dispatch_mode_at,
    is_all_true,
    is_wrapped,
    num_dispatch_modes,
)
from sursum.compiler.capture.repeats import RepeatingRecorder
from sursum.compiler.graph.graph import Ref

aten = torch.ops.aten

# The comparisons, each with its operator for a tensor and for a number; and what combines or prepares comparisons.
_COMPARISONS: Mapping[Any, tuple[OpOverload, OpOverload]] = {
    Tensor.__eq__: (aten.eq.Tensor, aten.eq.Scalar),
    Tensor.gt: (aten.gt.Tensor, aten.gt.Scalar),
    Tensor.ge: (aten.ge.Tensor, aten.ge.Scalar),
    Tensor.lt: (aten.lt.Tensor, aten.lt.Scalar),
    Tensor.le: (aten.le.Tensor, aten.le.Scalar),
}
_OTHERS = frozenset((Tensor.remainder, Tensor.__and__, Tensor.__or__))
_LOOKS: frozenset[Any] = frozenset((is_all_true, Tensor.__bool__))
_SEEN: frozenset[Any] = _LOOKS | _OTHERS | _COMPARISONS.keys()

_CHECKING = frozenset((Distribution.__init__.__code__, Distribution._validate_sample.__code__))
_NUMBERS = frozenset((int, float, bool))


class ArgumentChecks:
    """What the checks of a recording are made by.

    Args:
        recorder: that of the recording.
    """

    def __init__(self, recorder: RepeatingRecorder) -> None:
        self._recorder = recorder
        self._made: dict[Hashable, Tensor] = {}

    def instead(self, func: Any, args: Sequence[Any]) -> Any:
        """The result of a call that belongs to a check; NotImplemented for any other, and for a check of another kind."""
        if func not in _SEEN or not self._is_alone():
            return NotImplemented
        frame = _caller()
        if func not in _LOOKS:
            if frame is None or frame.f_code.co_filename != constraints.__file__:
                return NotImplemented
            frame = frame.f_back
        if frame is None or frame.f_code not in _CHECKING:  # nor one that is a part of another, or a program's
            return NotImplemented
        with DisableTorchFunction(), DisableTorchDispatch():
            if not _are_doubles(args):
                return NotImplemented
            refs = [self._recorder.traced_as(item) if type(item) is Tensor else item for item in args]
            if not any(type(item) is Ref for item in refs):
                self._recorder.pass_by()
                return func(*args)
            if func is Tensor.__bool__:
                return self._recorder.look_below(aten._local_scalar_dense.default, args[0])
            if func is is_all_true:
                return self._once(aten._is_all_true.default, args, refs)
            if func in _COMPARISONS:
                return self._once(_COMPARISONS[func][type(args[1]) is not Tensor], args, refs)
            return NotImplemented

    def _is_alone(self) -> bool:
        return num_dispatch_modes() == 1 and dispatch_mode_at(0) is self._recorder

    def _once(self, op: OpOverload, args: Sequence[Any], refs: Sequence[Ref | float | None]) -> Tensor:
        """The result of an operator, recorded where it was not run for the same arguments before."""
        key = id(op), *refs
        found = self._made.get(key)
        if found is None:
            found = self._recorder.record_below(op, args)
            if None not in refs:  # data may change
                self._made[key] = found
        return found


def _caller() -> FrameType | None:
    """The frame that has made the call; of torch's modes, each calls the next outer one."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_name != "__torch_function__":
        frame = frame.f_back
    while frame is not None and frame.f_code.co_name == "__torch_function__":
        frame = frame.f_back
    return frame


def _are_doubles(args: Sequence[Any]) -> bool:
    """Whether these are tensors of doubles, or of truth values, and numbers: no conversion is due."""
    return all(
        type(item) in _NUMBERS or (type(item) is Tensor and item.dtype in (torch.float64, torch.bool) and not is_wrapped(item))
        for item in args
    )
