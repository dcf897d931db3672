"""What programs read from outside their arguments: numbers, flags and data that a captured step would not see change."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from sursum.common.torch_private import DisableTorchFunction
from sursum.common.user_frame import is_users

_PLAIN = (int, float, bool, str, bytes, type(None), complex)
_COMPARED = (*_PLAIN, Tensor)
_EXACTLY = frozenset(_PLAIN)
_DEPTH = 4
_LONGEST = 256

#: Gives the value now, and a key that is equal as long as it has not changed.
Look = Callable[[], Any]


class Surroundings:
    """The values that the code of some programs names outside itself: globals, closures, attributes, entries of containers.

    Numbers, strings and flags are compared, tensors by whether they were written to, networks by whether they are in training.
    Only the code of the user is followed, not that of libraries, and only so far: what it does not find it does not see.

    Example:
        >>> settings = {"beta": 1.0}
        >>> def program():
        ...     return settings["beta"]
        >>> seen = Surroundings(program)
        >>> seen.changed()
        False
        >>> settings["beta"] = 0.5
        >>> seen.changed()
        True
    """

    def __init__(self, *programs: Any) -> None:
        self._seen: dict[int, Any] = {}
        self._looks: list[Look] = []
        for program in programs:
            self._follow(program, 0)
        self._before = [look() for look in self._looks]

    def changed(self) -> bool:
        """Whether any of it has changed since."""
        return [look() for look in self._looks] != self._before

    def _follow(self, item: Any, depth: int) -> None:
        if isinstance(item, (*_PLAIN, type)) or depth > _DEPTH or id(item) in self._seen:
            return
        self._seen[id(item)] = item
        if isinstance(item, Tensor):
            self._looks.append(partial(_version, item))
        elif isinstance(item, types.FunctionType):
            self._function(item, depth)
        elif isinstance(item, types.MethodType):
            self._follow(item.__func__, depth)
            self._follow(item.__self__, depth)
        elif isinstance(item, nn.Module):
            self._looks.append(partial(_training, item))
            if not _is_library(type(item)):
                self._methods(type(item), depth)
        elif isinstance(item, Mapping):
            self._values(item, depth)
        elif isinstance(item, (list, tuple)) and len(item) <= _LONGEST:
            self._looks.append(partial(_plain_items, item))
            for part in item:
                self._follow(part, depth + 1)
        elif isinstance(getattr(item, "__dict__", None), dict) and not isinstance(item, types.ModuleType):
            self._values(item.__dict__, depth)
            if not _is_library(type(item)):
                self._methods(type(item), depth)

    def _values(self, items: Mapping[Any, Any], depth: int) -> None:
        if len(items) > _LONGEST:
            return
        self._looks.append(partial(_plain_values, items))
        for part in list(items.values()):
            self._follow(part, depth + 1)

    def _methods(self, kind: type, depth: int) -> None:
        for method in vars(kind).values():
            if isinstance(method, types.FunctionType):
                self._follow(method, depth + 1)

    def _function(self, function: types.FunctionType, depth: int) -> None:
        if _is_library(function):
            return
        for cell in function.__closure__ or ():
            self._looks.append(partial(_key_of_cell, cell))
            self._follow(_content(cell), depth + 1)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._follow(default, depth + 1)
        for name in _names(function.__code__):
            if name in function.__globals__:
                self._looks.append(partial(_entry, function.__globals__, name))
                found = function.__globals__[name]
                if isinstance(found, types.ModuleType):
                    self._module(found, function.__code__)
                else:
                    self._follow(found, depth + 1)

    def _module(self, module: types.ModuleType, code: types.CodeType) -> None:
        """What a program reads of a module of the user's, `settings.beta`."""
        if _is_library(module):
            return
        for name in _names(code):
            if name in vars(module):
                self._looks.append(partial(_entry, vars(module), name))


def _is_library(item: Any) -> bool:
    """Whether a function, a class or a module is not of the user's own files."""
    if isinstance(item, types.FunctionType):
        file = item.__code__.co_filename
    else:
        module = item if isinstance(item, types.ModuleType) else sys.modules.get(item.__module__)
        file = getattr(module, "__file__", None) or ("" if module is None or module.__name__ == "__main__" else "<frozen")
    return not is_users(file) or "site-packages" in file or file.startswith(sys.base_prefix + os.sep + "lib")


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _key(value: Any) -> Any:
    """A number or string itself; for anything else which object it is, and for a tensor whether it was written to."""
    kind = type(value)
    if kind in _EXACTLY or isinstance(value, _PLAIN):
        return kind, value
    return (id(value), _version(value)) if isinstance(value, Tensor) else id(value)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None


def _key_of_cell(cell: types.CellType) -> Any:
    return _key(_content(cell))


def _entry(names: Mapping[str, Any], name: str) -> Any:
    return _key(names.get(name))


def _plain_values(items: Mapping[Any, Any]) -> Any:
    return [_key(value) for value in list(items.values()) if isinstance(value, _COMPARED)]


def _plain_items(items: Any) -> Any:
    return [_key(value) for value in items if isinstance(value, _COMPARED)]


def _training(net: nn.Module) -> list[bool]:
    return [part.training for part in net.modules()]


def _version(tensor: Tensor) -> int:
    if type(tensor) is Tensor or type(tensor) is nn.Parameter:  # most are, and have no functions of their own
        return _count(tensor)
    with DisableTorchFunction():
        return _count(tensor)


def _count(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
