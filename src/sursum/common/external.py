"""A log density whose value and gradient are computed outside torch: by NumPy, or by a C function at an address."""

from __future__ import annotations

import ctypes
import itertools
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.shown import abbreviate
from sursum.common.torch_private import DisableTorchFunction
from sursum.errors import DensityError

Array = NDArray[np.float64]

_LOCK = Lock()
_NUMBERS = itertools.count()
_MOST = 1 << 53  # addresses up to here are exact as doubles, as which C reads them
_CALL = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_size_t, *[ctypes.c_void_p] * 4)
_C_FUNCTION: Any = _CALL.__mro__[1]  # the class of all functions of ctypes


def external(function: Callable[[Array], tuple[float, Array]] | Any, *, user_data: Any = 0) -> External:
    r"""A function of a tensor whose value and gradient are computed by code that torch cannot see into.

    .. math:: f: R^n \to R, \qquad \nabla f: R^n \to R^n

    In a program it is an operator like others: ``su.factor("f", f(x))`` or ``su.logp(f, init)``. Its gradient is believed,
    and compared with differences of the value when a density is compiled (`GradientWarning`). It can be differentiated once.

    Args:
        function: from an array of n doubles to a number and an array of n doubles, or an object whose `value_and_grad` is one.
            Or a C function: its address, a `ctypes`
            function, or an object with an `address`, such as numba's ``cfunc``:
            ``int64_t f(size_t n, const double *x, double *gradient, double *value, void *user_data)``, which returns 0, or
            another number where the value is −∞ or not defined; chains call it from several threads at once, without Python.
        user_data: the address that a C function is passed last, or an object with a `pointer`, which is kept. All threads pass
            the same.

    Returns:
        From a tensor of any shape to a tensor of no dimension, float64.

    Raises:
        DensityError: `function` is neither; when it is called, results of other shapes.

    Example:
        >>> import sursum as su, numpy as np, torch
        >>> f = su.ops.external(lambda x: (-0.5 * float(x @ x), -x))
        >>> x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
        >>> value = f(x)
        >>> value.backward()
        >>> value.item(), x.grad.tolist()
        (-2.5, [-1.0, -2.0])
    """
    function = getattr(function, "value_and_grad", function)
    address = _address(function)
    if address is not None:
        pointer = getattr(user_data, "pointer", user_data)
        if not isinstance(pointer, int) or not 0 <= pointer < _MOST:
            raise DensityError(
                f"`user_data` is {abbreviate(user_data)}, but must be an address, or an object with a `pointer`."
            )
        if not 0 < address < _MOST:
            raise DensityError(f"external got the address {address:#x}, and no function can lie there.")
        return External(function, address, pointer, user_data)
    if not callable(function):
        raise DensityError(
            f"external takes a function from an array to (value, gradient), or the address of one in C, and got "
            f"{abbreviate(function)}."
        )
    if user_data != 0:
        raise DensityError("`user_data` is for C functions, which cannot keep data of their own as a function of Python can.")
    return External(function)


def _address(function: Any) -> int | None:
    """The address of a C function; None for anything else."""
    if isinstance(function, bool):
        return None
    if isinstance(function, int):
        return function
    if isinstance(function, _C_FUNCTION):
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    address = getattr(function, "address", None)
    return address if isinstance(address, int) and not isinstance(address, bool) else None


@dataclass(frozen=True, eq=False)
class External:
    """A log density computed outside torch; see `external`."""

    function: Any
    address: int | None = None
    user_data: int = 0
    kept: Any = field(default=None, repr=False)
    _number: int = field(default_factory=lambda: next(_NUMBERS), repr=False)

    @property
    def __name__(self) -> str:
        return getattr(self.function, "__name__", "external")

    def __reduce__(self) -> tuple[Any, ...]:
        if self.address is not None:
            raise DensityError("a C function at an address belongs to its process: it cannot be pickled, or sent to workers.")
        return external, (self.function,)

    def __call__(self, x: Tensor) -> Tensor:
        """The value at `x`; differentiable once."""
        if not isinstance(x, Tensor):
            raise DensityError(f"{self.__name__} takes one tensor, and got {abbreviate(x)}: concatenate what it depends on.")
        with DisableTorchFunction():
            found: Tensor = _ExternalFunction.apply(self, x.to(torch.float64).reshape(-1))
        return found[0]

    def run(self, x: Tensor) -> Tensor:
        """The value and the gradient, (1 + n,), by the operator that captures see."""
        if self.address is None:
            found: Tensor = self._operator[1](x)
        else:
            found = _point_to(x, torch.tensor([self.address, self.user_data], dtype=torch.float64))
        return found

    @cached_property
    def _operator(self) -> tuple[torch.library.Library, Any]:
        """What holds the registration, and the operator of this function alone."""
        with _LOCK:
            name, me = f"external_{self._number}", weakref.ref(self)

            def run(x: Tensor) -> Tensor:
                mine = me()
                assert mine is not None, "the function of an external operator is gone"
                return mine._evaluate(x)

            library = torch.library.Library("sursum", "FRAGMENT")
            library.define(f"{name}(Tensor x) -> Tensor")
            library.impl(name, run, "CompositeExplicitAutograd")
            operator = getattr(torch.ops.sursum, name).default

            def batched(info: Any, dims: tuple[int | None, ...], x: Tensor) -> tuple[Tensor, int]:
                return torch.stack([operator(row) for row in x.movedim(dims[0] or 0, 0)]), 0

            torch.library.register_vmap(f"sursum::{name}", batched, lib=library)
            return library, operator

    def _evaluate(self, x: Tensor) -> Tensor:
        n = x.numel()
        given = np.array(x.detach().cpu().numpy(), dtype=np.float64)
        answer = self.function(given)
        try:
            value, gradient = answer
            found = np.concatenate([[float(value)], np.asarray(gradient, dtype=np.float64).reshape(-1)])
        except (TypeError, ValueError) as error:
            raise DensityError(
                f"{self.__name__} returned {abbreviate(answer)}. A number and a gradient were expected, the latter an array of "
                f"{n} numbers."
            ) from error
        if len(found) != n + 1:
            raise DensityError(f"{self.__name__} returned a gradient of {len(found) - 1} numbers at a point of {n}.")
        return torch.from_numpy(found).to(x.device)


class _ExternalFunction(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(external: External, x: Tensor) -> Tensor:
        """The value and the gradient."""
        return external.run(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keeps the gradient."""
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        """By the value alone."""
        (found,) = ctx.saved_tensors
        return None, slopes[0][0] * found[1:]


class _Pointers:
    """The operator of C functions: value and gradient, from a point and the two addresses, as doubles."""

    @cached_property
    def registered(self) -> tuple[torch.library.Library, Any]:
        """What holds the registration, which lives as long as the process, and the operator."""
        library = torch.library.Library("sursum", "FRAGMENT")
        library.define("external(Tensor x, Tensor pointers) -> Tensor")
        library.impl("external", _call_pointer, "CompositeExplicitAutograd")
        operator = torch.ops.sursum.external.default

        def batched(info: Any, dims: tuple[int | None, ...], x: Tensor, pointers: Tensor) -> tuple[Tensor, int]:
            rows = x.movedim(dims[0] or 0, 0)
            each = pointers.expand(len(rows), 2) if dims[1] is None else pointers.movedim(dims[1], 0)
            return torch.stack([operator(row, own) for row, own in zip(rows, each, strict=True)]), 0

        torch.library.register_vmap("sursum::external", batched, lib=library)
        return library, operator


_POINTERS = _Pointers()


def _point_to(x: Tensor, pointers: Tensor) -> Tensor:
    with _LOCK:
        operator = _POINTERS.registered[1]
    found: Tensor = operator(x, pointers)
    return found


def _call_pointer(x: Tensor, pointers: Tensor) -> Tensor:
    given = np.ascontiguousarray(x.detach().cpu().numpy(), dtype=np.float64)
    found = np.zeros(len(given) + 1)
    address, user_data = (int(pointer) for pointer in pointers.tolist())
    function = _CALL(address)
    code = function(len(given), given.ctypes.data, found[1:].ctypes.data, found.ctypes.data, user_data)
    if code:
        found[0], found[1:] = -np.inf, 0.0
    return torch.from_numpy(found).to(x.device)
