"""Run any program in double precision: no narrower float is created, computed with, or seen.

A program in float32 need not be rewritten, and torch's default dtype, which is process-wide, is left alone: two thread-local
modes do the work. One intercepts operators and computes them in float64. The other intercepts calls from Python: it
makes float64 tensors from Python numbers, without rounding them first, and reports float64 as a tensor's dtype, so that
constants derived from a dtype, such as the margin that `torch.distributions` keeps from 0 and 1, are those of doubles.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import BuiltinFunctionType, EllipsisType, FrameType, MethodDescriptorType, MethodWrapperType, WrapperDescriptorType
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import clamp_probs
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode

from sursum.common.special.incomplete_gamma import INCOMPLETE_GAMMA
from sursum.common.special.normal_cdf import NORMAL_CDF
from sursum.common.torch_private import (
    DisableTorchDispatch,
    DisableTorchFunction,
    OpOverload,
    TorchDispatchMode,
    dispatch_mode_at,
    dispatch_modes,
    function_mode_at,
    function_modes,
    is_wrapped,
    num_dispatch_modes,
)

aten = torch.ops.aten

NARROW = frozenset((torch.float32, torch.float16, torch.bfloat16))

Instead = Callable[[Any, Sequence[Any]], Any]

# The position of the argument that holds the numbers.
_FROM_NUMBERS: Mapping[Any, int] = {torch.tensor: 0, torch.as_tensor: 0, torch.asarray: 0, Tensor.new_tensor: 1}
# The range of probabilities p for which log p and log(1 − p) are finite in float64.
_LEAST, _MOST = torch.finfo(torch.float64).tiny, 1 - torch.finfo(torch.float64).eps / 2
_INTEGERS = ("aten::randint", "aten::randperm")
# For these torch chooses an operator by the dtypes of the arguments, and some of the candidates do not support doubles.
_CHOOSING: frozenset[Any] = frozenset(
    (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu, torch.nn.functional.scaled_dot_product_attention)
)
# A function of torch's own code, and Python's that only call one: of doubles they make nothing narrow on the way.
_OF_TORCH = (BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType)
_ONLY_CALLING: frozenset[Any] = frozenset(
    (torch.broadcast_tensors, Tensor.__pow__, Tensor.__rsub__, Tensor.__rdiv__, Tensor.__rpow__)
)
# torch's functions whose digits, or those of their derivatives, are fewer than a double has.
_OURS: Mapping[Any, Callable[..., Any]] = {**INCOMPLETE_GAMMA, **NORMAL_CDF}
_NOT_AS_THEY_ARE: frozenset[Any] = frozenset((Tensor.clamp, torch.binary_cross_entropy_with_logits, *_OURS))
_NUMBERS = frozenset((int, float, bool, type(None), slice, EllipsisType, torch.Size))


def wide(dtype: torch.dtype) -> torch.dtype:
    """float64 for a narrower float; other dtypes unchanged.

    >>> wide(torch.float32), wide(torch.int64)
    (torch.float64, torch.int64)
    """
    return torch.float64 if dtype in NARROW else dtype


@contextmanager
def in_double() -> Iterator[None]:
    """Run the block in double precision; Python numbers are doubles there, even if a narrower dtype is requested.

    If nested, the outer one applies.

    Example:
        >>> import torch
        >>> x = torch.ones(2)
        >>> with in_double():
        ...     (x * 0.1).dtype, torch.tensor(0.1).dtype, torch.finfo(x.dtype).eps
        (torch.float64, torch.float64, 2.220446049250313e-16)
    """
    if is_double():
        yield
    else:
        with enforce_double():
            yield


@contextmanager
def enforce_double(computed: Computed | None = None, instead: Instead | None = None) -> Iterator[None]:
    """Like `in_double`, but also effective where another mode was entered inside an outer one: that mode sees doubles too.

    Args:
        computed: the mode that computes operators in float64, where it is to do more than that.
        instead: does what a call from Python does, or gives NotImplemented: then it is made.
    """
    computed = Computed() if computed is None else computed
    with _SeenByPython(computed, instead), computed:
        yield


def is_double() -> bool:
    """Whether code here runs in double precision."""
    return any(isinstance(mode, Computed) and mode.widens for mode in dispatch_modes())


def score(fn: Any, value: Any, plainly: Callable[[Any], Any]) -> Any:
    """The log density of a distribution at a value, by the mode that computes operators here, if there is no other.

    Args:
        plainly: computes the log density of a distribution.
    """
    mode = dispatch_mode_at(0) if num_dispatch_modes() == 1 else None
    return mode.score(fn, value, plainly) if isinstance(mode, Computed) else plainly(fn)


def is_watched() -> bool:
    """Whether a dispatch mode other than that of `in_double`, such as a capture, sees the operators that are run here."""
    return any(type(mode) is not Computed for mode in dispatch_modes())


def is_traced(tensor: Tensor) -> bool:
    """Whether a tensor is an input of a capture, or computed from one: Python must not look at its numbers."""
    return any(isinstance(mode, Computed) and mode.traces(tensor) for mode in dispatch_modes())


def leaves_doubles(items: Iterable[Any]) -> bool:
    """Whether the modes here, all of them ours, leave operators on these as they are: plain tensors of doubles, and numbers.

    Example:
        >>> import torch
        >>> x, narrow = torch.ones(2, dtype=torch.float64), torch.ones(2)
        >>> with in_double():
        ...     leaves_doubles((x, 1.0)), leaves_doubles((x, narrow)), leaves_doubles((x, torch.nn.Parameter(x)))
        (True, False, False)
    """
    mode = dispatch_mode_at(0) if num_dispatch_modes() == 1 else None
    if not (isinstance(mode, Computed) and mode.passed_by):
        return False
    if not all(getattr(function_mode_at(place), "leaves_doubles", False) for place in range(function_modes())):
        return False
    count = 0
    with DisableTorchFunction():
        for item in items:
            if type(item) is Tensor:
                if item.dtype is not torch.float64 or is_wrapped(item):
                    return False
                count += 1
            elif type(item) not in _NUMBERS:
                return False
    return bool(count)  # numbers alone have the dtype that the modes give them


@contextmanager
def without_modes() -> Iterator[None]:
    """Run the block as torch does by itself, where no mode would change what it does."""
    with DisableTorchFunction(), DisableTorchDispatch():
        yield


def default_dtype() -> torch.dtype:
    """The default dtype of numbers: torch's default, or float64 inside `in_double`."""
    return torch.float64 if is_double() else torch.get_default_dtype()


def caller() -> FrameType:
    """Inside a function mode, the frame of the intercepted call; modes entered later have already seen it."""
    frame = sys._getframe(2)
    while frame.f_code.co_name == "__torch_function__" and frame.f_back is not None:
        frame = frame.f_back
    return frame


class _SeenByPython(TorchFunctionMode):
    """What Python sees: dtypes, and tensors of numbers."""

    #: That of a mode which does nothing of its own where it is called with doubles.
    leaves_doubles: ClassVar[bool] = True

    def __init__(self, computed: Computed, instead: Instead | None = None) -> None:
        super().__init__()
        self._computed, self._instead = computed, instead

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._instead is not None:
            found = self._instead(func, args)
            if found is not NotImplemented:
                return found
        if type(func) is not MethodWrapperType and self._computed.passed_by and self._leaves_doubles(func, args, kwargs):
            with DisableTorchDispatch():
                found = func(*args, **kwargs)
            if not _is_narrow(found):  # else that is asked for, or made of truth values
                return found
        if func in _OURS and "out" not in kwargs:
            return _OURS[func](*args, *(kwargs[name] for name in ("input", "other") if name in kwargs))
        if not kwargs and len(args) == 1 and isinstance(args[0], Tensor):  # no two dtypes can meet
            found = func(args[0])
            if type(found) is not torch.dtype or found not in NARROW:
                return found
            # The tolerance of a constraint is the rounding error of the value that it is given.
            return found if caller().f_code.co_filename == constraints.__file__ else torch.float64
        if func in _CHOOSING:
            args, kwargs = widen(args), widen(dict(kwargs))
        elif func is Tensor.clamp and caller().f_code is clamp_probs.__code__:
            kwargs = {"min": _LEAST, "max": _MOST}
        elif func in _FROM_NUMBERS:
            place, dtype = _FROM_NUMBERS[func], kwargs.get("dtype")
            args = tuple(wide(item) if isinstance(item, torch.dtype) else item for item in args)
            if dtype in NARROW or (dtype is None and len(args) > place and _holds_float(args[place])):
                kwargs = {**kwargs, "dtype": torch.float64}
        elif _meet(args, kwargs) and not (_is_narrow(args[:1]) and getattr(func, "__name__", "")[-1:] == "_"):
            # Before autograd sees them: then the tensors saved for the gradient are doubles, wherever that is computed.
            args, kwargs = widen(args), widen(dict(kwargs))
        return func(*args, **kwargs)

    def _leaves_doubles(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Whether a call is the same where no mode computes it: three times as fast."""
        if num_dispatch_modes() != 1 or dispatch_mode_at(0) is not self._computed:
            return False
        if not (type(func) in _OF_TORCH or func in _ONLY_CALLING) or func in _NOT_AS_THEY_ARE:
            return False
        return bool(_doubles((*args, *kwargs.values()) if kwargs else args[:1] if func is Tensor.__getitem__ else args))


@dataclass(frozen=True, slots=True)
class _OperatorFacts:
    """Properties of an operator: whether it returns a view of its argument, which arguments it writes, and more."""

    op: Any  # kept alive: the table is keyed by its id
    windows: bool
    written: frozenset[str]
    names: tuple[str, ...]
    makes: bool  # takes a dtype, and draws in the default dtype
    takes_dtype: bool
    of_floats: bool  # rejects integers, though torch promotes them elsewhere

    @classmethod
    def of(cls, op: Any) -> _OperatorFacts:
        arguments = op._schema.arguments
        written = frozenset(a.name for a in arguments if a.alias_info is not None and a.alias_info.is_write)
        takes_dtype = any(a.name == "dtype" for a in arguments)
        draws = torch.Tag.nondeterministic_seeded in op.tags and op._schema.name not in _INTEGERS
        return cls(
            op=op,
            windows=not written and any(a.alias_info is not None for a in arguments),
            written=written,
            names=tuple(a.name for a in arguments),
            makes=takes_dtype and draws,
            takes_dtype=takes_dtype,
            of_floats=op is aten.binary_cross_entropy_with_logits.default,
        )


class Computed(TorchDispatchMode):
    """Operators in float64: narrow arguments are converted first, and so are integers that would become narrow floats.

    A mode that derives from this one does more where it overrides `run`.
    """

    #: Whether operators on doubles, which are left as they are, may pass this mode by.
    passed_by: ClassVar[bool] = True
    #: Operators that take functions pass through unchanged, so that the modes outside can refuse them.
    supports_higher_order_operators = True
    #: False for a mode that leaves every operator in the program's own precision.
    widens: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._facts: dict[int, _OperatorFacts] = {}
        self._converted: dict[int, tuple[Tensor, int, Tensor]] = {}

    def run(self, op: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """What an operator gives, its arguments in float64."""
        return op(*args, **kwargs)

    def score(self, fn: Any, value: Any, plainly: Callable[[Any], Any]) -> Any:
        """The log density of a distribution at a value; `plainly` computes that of any."""
        return plainly(fn)

    def traces(self, tensor: Tensor) -> bool:
        """Whether this mode is a capture's, and the tensor computed from its inputs."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, OpOverload):
            return func(*args, **kwargs)
        if not self.widens:
            with DisableTorchFunction():
                return self.run(func, args, kwargs)
        facts = self._facts.get(id(func))  # torch keeps its operators, and hashes them in Python
        if facts is None:
            facts = self._facts[id(func)] = _OperatorFacts.of(func)
        with DisableTorchFunction():  # dtypes as they are
            if facts.windows:
                return self.run(func, args, kwargs)
            if facts.written:
                args = tuple(a if name in facts.written else self._wide(a) for name, a in zip(facts.names, args, strict=False))
                kwargs = {name: a if name in facts.written else self._wide(a) for name, a in kwargs.items()}
                return self.run(func, args, kwargs)
            if kwargs or facts.makes or facts.of_floats or not _is_wide(args):  # of most calls none of it is so
                args, kwargs = self._wide(args), {name: self._wide(a) for name, a in kwargs.items()}
                if facts.of_floats:
                    args = self._floating(args)
                if facts.makes and kwargs.get("dtype") is None:
                    kwargs["dtype"] = torch.float64
            found = self.run(func, args, kwargs)
            if not _is_narrow(found):
                return found
            # Computed from integers, or from no tensor: torch gives these the default dtype.
            if any(map(_holds_tensor, args)) or any(map(_holds_tensor, kwargs.values())):
                return self.run(func, self._floating(args), {name: self._floating(a) for name, a in kwargs.items()})
            return self.run(func, args, {**kwargs, "dtype": torch.float64}) if facts.takes_dtype else found

    def _wide(self, item: Any) -> Any:
        """Arguments with every narrow float tensor, and every narrow dtype, in float64."""
        if isinstance(item, Tensor):
            return self._convert(item) if item.dtype in NARROW else item
        if isinstance(item, torch.dtype):
            return wide(item)
        if isinstance(item, (list, tuple)):
            return type(item)([self._wide(part) for part in item])
        return item

    def _convert(self, tensor: Tensor) -> Tensor:
        """`tensor` in float64; converted once, until it is written to."""
        version = 0 if tensor.is_inference() else tensor._version
        known = self._converted.get(id(tensor))
        if known is None or known[1] != version:
            known = self._converted[id(tensor)] = tensor, version, self._new(tensor)
        return known[2]

    def _new(self, tensor: Tensor) -> Tensor:
        """`tensor` in float64; expanded dimensions stay expanded."""
        size, stride = tensor.shape, tensor.stride()
        if 0 not in stride:
            return self._copy(tensor)
        for dim, step in enumerate(stride):
            if not step:
                tensor = self.run(aten.slice.Tensor, (tensor, dim, 0, 1), {})
        expanded: Tensor = self.run(aten.expand.default, (self._copy(tensor), size), {})
        return expanded

    def _copy(self, tensor: Tensor) -> Tensor:
        """`tensor` in float64, by the operator that `to` decomposes into: below autograd nothing decomposes it."""
        copy: Tensor = self.run(aten._to_copy.default, (tensor,), {"dtype": torch.float64})
        return copy

    def _floating(self, item: Any) -> Any:
        """Arguments with integers in float64."""
        if isinstance(item, Tensor):
            return item if item.is_floating_point() or item.is_complex() else self._copy(item)
        if isinstance(item, (list, tuple)):
            return type(item)([self._floating(part) for part in item])
        return item


def _doubles(items: Iterable[Any]) -> int | None:
    """How many of these arguments are tensors of doubles or truth values; None where any is neither that nor a number."""
    count = 0
    for item in items:
        kind = type(item)
        if kind is Tensor or kind is Parameter:
            if item.dtype is not torch.float64 and item.dtype is not torch.bool:
                return None
            count += 1
        elif kind is tuple or kind is list:
            inner = _doubles(item)
            if inner is None:
                return None
            count += inner
        elif kind not in _NUMBERS and item is not torch.float64:
            return None
    return count


def _is_wide(items: Sequence[Any]) -> bool:
    """Whether these arguments contain neither a narrow float tensor nor a narrow dtype."""
    for item in items:
        if isinstance(item, Tensor):
            if item.dtype in NARROW:
                return False
        elif type(item) in (tuple, list):
            if not _is_wide(item):
                return False
        elif isinstance(item, torch.dtype) and item in NARROW:
            return False
    return True


def _holds_float(item: Any) -> bool:
    return isinstance(item, float) or (isinstance(item, (list, tuple)) and any(map(_holds_float, item)))


def _meet(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether these arguments contain both a tensor of doubles and a narrower one."""
    dtypes: set[torch.dtype] = set()
    with DisableTorchFunction():
        _note_dtypes(args, dtypes)
        if kwargs:
            _note_dtypes(kwargs.values(), dtypes)
    return len(dtypes) > 1 and torch.float64 in dtypes and not dtypes.isdisjoint(NARROW)


def _note_dtypes(items: Iterable[Any], found: set[torch.dtype]) -> None:
    for item in items:
        if isinstance(item, Tensor):
            found.add(item.dtype)
        elif type(item) in (tuple, list):
            _note_dtypes(item, found)


def _is_narrow(found: Any) -> bool:
    if isinstance(found, Tensor):
        return found.dtype in NARROW
    return isinstance(found, (list, tuple)) and any(map(_is_narrow, found))


def _holds_tensor(item: Any) -> bool:
    return isinstance(item, Tensor) or (isinstance(item, (list, tuple)) and any(map(_holds_tensor, item)))


def widen(value: Any) -> Any:
    """Convert tensors of narrower floats to float64, also inside tuples, lists and dictionaries; anything else is unchanged."""
    if isinstance(value, Tensor):
        with DisableTorchFunction():
            return value.to(torch.float64) if value.dtype in NARROW else value
    if type(value) in (tuple, list):
        return type(value)(map(widen, value))
    return {name: widen(item) for name, item in value.items()} if type(value) is dict else value
