"""Track which marked tensors others were computed from, including integers and booleans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from torch import Tensor
from torch.overrides import TorchFunctionMode

from sursum.common.torch_private import TorchDispatchMode


class Provenance(TorchDispatchMode):
    """While this mode is active, every operator propagates the marks of its inputs to its outputs.

    The autograd graph covers only real numbers, and ends at an index or a comparison; this sees every operator. A mark
    belongs to the storage of a tensor, so its views share it and writing into a part marks the whole. Values that leave
    torch lose their marks: ``float(x)``, ``x.tolist()``, a Python branch.

    Example:
        >>> import torch
        >>> with Provenance() as seen:
        ...     k, table = torch.tensor([0, 2]), torch.ones(3)
        ...     seen.mark(k, "k")
        ...     picked = table[k]
        >>> seen.of(picked), seen.of(table)
        (frozenset({'k'}), frozenset())
    """

    def __init__(self) -> None:
        super().__init__()
        # The storage is kept alive with its marks, so that its address is not reused.
        self._marks: dict[int, tuple[frozenset[str], Any]] = {}
        self._indexing = _Indexing(self)

    def __enter__(self) -> Self:
        super().__enter__()
        self._indexing.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._indexing.__exit__(kind, error, traceback)
        super().__exit__(kind, error, traceback)

    def mark(self, value: Tensor, name: str) -> None:
        """From here on, what is computed from `value` comes from `name`, and from nothing that `value` was computed from."""
        self._set(value, frozenset({name}))

    def of(self, value: Any) -> frozenset[str]:
        """The names that `value` comes from."""
        storage = _storage(value) if isinstance(value, Tensor) else None
        return frozenset() if storage is None else self._marks.get(storage._cdata, (frozenset(), None))[0]

    def add(self, value: Tensor, names: frozenset[str]) -> None:
        """From here on, `value` comes from `names` as well."""
        if names:
            self._set(value, self.of(value) | names)

    def _set(self, value: Tensor, names: frozenset[str]) -> None:
        storage = _storage(value)
        if storage is not None:
            self._marks[storage._cdata] = (names, storage)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func._schema.name.partition("::")[2]
        if name.endswith("_like") or name.startswith("new_"):
            return out  # only the shape and the dtype of the input matter
        names = frozenset[str]().union(*(self.of(one) for one in _tensors([args, list(kwargs.values())])))
        if names:
            written = [
                value
                for argument, value in zip(func._schema.arguments, args, strict=False)
                if argument.alias_info is not None and argument.alias_info.is_write
            ]
            for one in _tensors([out, written]):
                self.add(one, names)
        return out


class _Indexing(TorchFunctionMode):
    """Keeps the marks of an index that is a single integer, which torch reads as a Python number before any operator runs."""

    def __init__(self, seen: Provenance) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            names = frozenset[str]().union(*(self._seen.of(one) for one in _tensors(args[1]) if not one.dim()))
            if names and func is Tensor.__getitem__:
                out = out.clone()  # a view of the indexed tensor, which does not come from the index
            self._seen.add(args[0] if out is None else out, names)
        return out


def _tensors(nested: Any) -> Iterator[Tensor]:
    if isinstance(nested, Tensor):
        yield nested
    elif isinstance(nested, (list, tuple)):
        for one in nested:
            yield from _tensors(one)


def _storage(value: Tensor) -> Any:
    """The storage of a tensor; None if it has none, like a sparse one."""
    try:
        return value.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return None
