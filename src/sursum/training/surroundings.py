"""What programs read from outside their arguments: numbers, flags and data that a captured step would not see change."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from itertools import chain
from operator import is_
from typing import Any

from torch import Tensor, nn

from sursum.common.torch_private import DisableTorchFunction
from sursum.common.user_frame import is_users

_PLAIN = (int, float, bool, str, bytes, type(None), complex)
_COMPARED = (*_PLAIN, Tensor)
_EXACTLY = frozenset(_PLAIN)
_DEPTH = 4
_LONGEST = 256

#: Gives the object that is at a place now.
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
        self._followed: dict[int, Any] = {}
        self._places: list[Look] = []
        self._containers: list[tuple[Callable[[], Collection[Any]], bool]] = []  # and whether all in it is compared
        self._networks: list[nn.Module] = []
        for program in programs:
            self._follow(program, 0)
        self._before, self._known = self._objects(), self._keys()
        items = (*self._followed.values(), *self._before[0], *self._before[1])
        self._tensors = list({id(item): item for item in items if isinstance(item, Tensor)}.values())
        self._versions, self._modes = self._written(), self._training()

    def changed(self) -> bool:
        """Whether any of it has changed since.

        It is asked before every step: what are still the same objects need no key.
        """
        now = self._objects()
        if not all(len(one) == len(was) and all(map(is_, one, was)) for one, was in zip(now, self._before, strict=True)):
            if self._keys() != self._known:
                return True
            self._before = now
        return self._written() != self._versions or self._training() != self._modes

    def _objects(self) -> tuple[list[Any], list[Any], list[int]]:
        """What is at the places, in the containers, and how many there are in each."""
        held = [look() for look, _ in self._containers]
        return [look() for look in self._places], list(chain.from_iterable(held)), list(map(len, held))

    def _keys(self) -> Any:
        """The numbers and strings, and which objects the others are."""
        held = [
            [_key(item) for item in look() if everything or isinstance(item, _COMPARED)]
            for look, everything in self._containers
        ]
        return [_key(look()) for look in self._places], held

    def _written(self) -> list[int]:
        """How often each tensor was written to."""
        return [_version(tensor) for tensor in self._tensors]

    def _training(self) -> list[bool]:
        return [part.training for net in self._networks for part in net.modules()]

    def _follow(self, item: Any, depth: int) -> None:
        if isinstance(item, (*_PLAIN, type)) or depth > _DEPTH or id(item) in self._followed:
            return
        self._followed[id(item)] = item
        if isinstance(item, types.FunctionType):
            self._function(item, depth)
        elif isinstance(item, types.MethodType):
            self._follow(item.__func__, depth)
            self._follow(item.__self__, depth)
        elif isinstance(item, nn.Module):
            self._networks.append(item)
            if not _is_library(type(item)):
                self._methods(type(item), depth)
        elif isinstance(item, Mapping):
            self._values(item, depth)
        elif isinstance(item, (list, tuple)) and len(item) <= _LONGEST:
            self._containers.append((partial(_itself, item), True))
            for part in item:
                self._follow(part, depth + 1)
        elif isinstance(getattr(item, "__dict__", None), dict) and not isinstance(item, (types.ModuleType, Tensor)):
            theirs = _is_library(type(item))  # whose objects may keep what they please from call to call
            self._values(item.__dict__, depth, everything=not theirs)
            if not theirs:
                self._methods(type(item), depth)

    def _values(self, items: Mapping[Any, Any], depth: int, *, everything: bool = True) -> None:
        if len(items) > _LONGEST:
            return
        self._containers.append((items.values if isinstance(items, dict) else partial(_snapshot, items), everything))
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
            self._places.append(partial(_content, cell))
            self._follow(_content(cell), depth + 1)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._follow(default, depth + 1)
        for name in _names(function.__code__):
            if name in function.__globals__:
                self._places.append(partial(function.__globals__.get, name))
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
                self._places.append(partial(vars(module).get, name))


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
    """A number or string itself, and of anything else which object it is."""
    kind = type(value)
    return (kind, value) if kind in _EXACTLY or isinstance(value, _PLAIN) else id(value)


def _itself(items: Collection[Any]) -> Collection[Any]:
    return items


def _snapshot(items: Mapping[Any, Any]) -> tuple[Any, ...]:
    """Of a mapping of the user's, whose `values` may be anything."""
    return tuple(items.values())


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None


def _version(tensor: Tensor) -> int:
    if type(tensor) is Tensor or type(tensor) is nn.Parameter:  # most are, and have no functions of their own
        return _count(tensor)
    with DisableTorchFunction():
        return _count(tensor)


def _count(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
