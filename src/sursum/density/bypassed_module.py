"""Detect networks that are called directly although their parameters were lifted.

``module("net", net)`` returns the network that holds the lifted values; a program that calls `net` itself afterwards has
a posterior that equals the prior, without any error. So the first run of a density checks for reads of the originals.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sursum.common.torch_private import TensorBase
from sursum.common.user_frame import calling_line
from sursum.core.messages import Param, Sample
from sursum.core.trace import Trace
from sursum.errors import DensityError

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
#: Functions that pass a tensor's numbers to Python or other libraries without an operator: now, or when autograd runs.
_EXITS = frozenset(
    getattr(Tensor, name)
    for name in (
        *("numpy", "tolist", "__array__", "__dlpack__", "__reduce_ex__"),
        *("data_ptr", "storage", "untyped_storage", "register_hook"),
    )
)

_GRADIENT = vars(TensorBase)["grad"].__get__
#: The types of arguments that are not parameters, and hold none.
_PLAIN = frozenset((Tensor, int, float, bool, type(None), torch.Size, torch.dtype, slice))


class watch_originals(TorchFunctionMode):
    """Records which `nn.Parameter` objects are read while it is active, and where first; and, in `exit`, the first line at
    which numbers leave torch without an operator.
    """

    #: Operators on plain tensors read no parameter.
    leaves_doubles: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._read: dict[int, tuple[Tensor, str | None]] = {}
        self.exit: str | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _EXITS and self.exit is None and not sys._getframe(1).f_code.co_filename.startswith(_PACKAGE):
            self.exit = calling_line() or "?"
        result = func(*args, **(kwargs or {}))
        if not kwargs and _PLAIN.issuperset(map(type, args)):  # of most calls no argument is a parameter
            return result
        # Its shape, its size, its gradient are not reads of the value; `weight.T` is.
        if func != _GRADIENT and _holds_tensor(result):
            # A deep copy of a tensor is passed what else has been copied, in a memo: that is not a read.
            for tensor in _parameters(args[:1] if func is Tensor.__deepcopy__ else (args, kwargs)):
                self._read.setdefault(id(tensor), (tensor, calling_line()))
        return result

    def check(self, found: Trace, *, trained: bool = False) -> None:
        """Raise DensityError if the original of a lifted parameter was read, or with `trained` that of a trained one."""
        for site in found.values():
            param = site if isinstance(site, Param) and trained and not site.frozen else getattr(site, "param", None)
            original = param.initial if isinstance(param, Param) else None
            if isinstance(original, nn.Parameter) and id(original) in self._read:
                line = self._read[id(original)][1]
                what = "is trained" if param is site else "was lifted"
                else_ = "no step would change it" if param is site else "its posterior would be its prior"
                raise DensityError(
                    f"parameter {site} {what}, but the network's own value of it is read at {line}. Call what "
                    f"module(…) returns, f = module(name, net); f(x), not the network itself: {else_}."
                )


def check_caches(found: Trace, terms: Mapping[str, Tensor]) -> None:
    """Raise DensityError if a term still depends on a lifted parameter's original, through a tensor cached by a network.

    Networks that memoise (results of an earlier call in an attribute or a dictionary) use it without a read.
    """
    originals = {id(param.initial): site for site in found.values() if (param := _find_lifted(site)) is not None}
    if not originals:
        return
    roots = [*terms.values(), *(site.value for site in found.values() if isinstance(site.value, Tensor))]
    stack = [root.grad_fn for root in roots if root.grad_fn is not None]
    seen = set(stack)
    while stack:
        node = stack.pop()
        site = originals.get(id(getattr(node, "variable", None)))
        if site is not None:
            raise DensityError(
                f"parameter {site} was lifted, but the program uses a value that the network cached in an earlier call, "
                "computed from the original parameter. Clear that cache before the program runs (recreate the network, "
                "or put it into training mode, where such networks recompute all of it): its posterior would be its prior."
            )
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                stack.append(child)


def _find_lifted(site: Any) -> Any:
    """The network's parameter that was lifted at this site."""
    param = getattr(site, "param", None) if isinstance(site, Sample) else None
    return param if param is not None and isinstance(param.initial, nn.Parameter) else None


def _holds_tensor(result: Any) -> bool:
    if isinstance(result, (list, tuple)):
        return any(map(_holds_tensor, result))
    return isinstance(result, Tensor)


def _parameters(tree: Any) -> list[Tensor]:
    if isinstance(tree, torch.nn.Parameter):
        return [tree]
    if isinstance(tree, (list, tuple)):
        return [tensor for item in tree for tensor in _parameters(item)]
    if isinstance(tree, Mapping):
        return _parameters(list(tree.values()))
    return []
