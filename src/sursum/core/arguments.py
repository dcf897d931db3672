"""Data that a program is called with: arrays and columns of NumPy, pandas and similar libraries, as tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sursum.common.mapped_files import map_file, map_memory
from sursum.common.user_frame import warn
from sursum.errors import CallError, EngineWarning, SursumError

_PLAIN = frozenset((Tensor, int, float, bool, str, complex, type(None)))
#: Bytes from which on it is asked whether an array that cannot be written to lies in a mapped file.
_LARGE = 2**16
_LARGEST = torch.iinfo(torch.int64).max


def with_data(program: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call of `program`, with arrays and columns converted to tensors; see `as_data`.

    Raises:
        CallError: an argument that does not hold numbers, or has missing values.

    Example:
        >>> with_data(lambda x: x, (np.array([0.1, 0.2]),), {})
        ((tensor([0.1000, 0.2000], dtype=torch.float64),), {})
    """
    return (
        tuple(as_data(value, lambda i=i: _name_argument(program, i)) for i, value in enumerate(args)),  # type: ignore[misc]
        {key: as_data(value, lambda key=key: f"the argument {key!r}") for key, value in kwargs.items()},  # type: ignore[misc]
    )


def describe_nan(program: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """A sentence about the first argument with a NaN, which numbers that are not observed do not stop at; "" without one.

    Example:
        >>> describe_nan(lambda x, y: x, (torch.ones(2), torch.tensor([1.0, torch.nan])), {})
        "The argument 'y' has NaN, at [1]: leave those rows out, or fill them with any value and mask what is observed."
    """
    given: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    for key, value in given:
        data = value if isinstance(value, Tensor) else as_data(value, lambda: "an argument")
        if isinstance(data, Tensor) and data.is_floating_point() and bool(torch.isnan(data).any()):
            named = f"the argument {key!r}" if isinstance(key, str) else _name_argument(program, key)
            places = ", ".join(str(place) for place in torch.isnan(data).nonzero()[:3].tolist())
            return (
                f"{named[0].upper()}{named[1:]} has NaN, at {places}: leave those rows out, or fill them with any value and "
                "mask what is observed."
            )
    return ""


def check_arguments(args: Any, kwargs: Any, error: type[SursumError]) -> None:
    """Raise `error` unless these are a sequence of positional arguments and a mapping of named ones.

    Example:
        >>> check_arguments(torch.zeros(2), None, CallError)
        Traceback (most recent call last):
        sursum.errors.CallError: arguments of the program are given as a tuple, and a Tensor was found: write (x,) for one, \
and (x, y) for two.
    """
    if not isinstance(args, (tuple, list)):
        raise error(
            f"arguments of the program are given as a tuple, and a {type(args).__name__} was found: write (x,) for one, and "
            "(x, y) for two."
        )
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise error(
            f"the named arguments of the program are given as a dict, and a {type(kwargs).__name__} was found: write all "
            "arguments without a name in one tuple, (x, y)."
        )


def _name_argument(program: Any, place: int) -> str:
    """What to call a positional argument: by its name if known."""
    while callable(inner := getattr(program, "fn", None)):
        program = inner
    try:
        known = list(inspect.signature(program.forward if isinstance(program, nn.Module) else program).parameters.values())
    except (TypeError, ValueError):
        known = []
    known = [p for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return f"the argument {known[place].name!r}" if place < len(known) else f"argument {place + 1} of the program"


def as_data(value: Any, named: Callable[[], str], error: type[SursumError] = CallError) -> Any:
    """`value` with arrays and columns converted to tensors, also in lists, tuples and dicts; anything else is unchanged.

    No digits are lost: floats keep their dtype, integers of any width become int64, which torch requires for indices, and
    a NumPy scalar becomes a Python number. A data frame is left as it is: its columns are data.

    Args:
        named: how an error names the value.

    Raises:
        error: text, dates, categories or other objects; missing values.

    Example:
        >>> as_data({"x": np.array([1, 2], dtype=np.int8), "n": np.float32(0.5)}, lambda: "the data")
        {'x': tensor([1, 2]), 'n': 0.5}
    """
    kind = type(value)
    if kind in _PLAIN or isinstance(value, (Tensor, type)):
        return value
    if isinstance(value, np.generic):
        return _number(value)
    if kind is list or kind is tuple or (isinstance(value, tuple) and hasattr(value, "_fields")):
        if all(type(part) in _PLAIN for part in value):
            return value
        parts = [as_data(part, lambda i=i: f"{named()}[{i}]", error) for i, part in enumerate(value)]  # type: ignore[misc]
        if all(new is old for new, old in zip(parts, value, strict=True)):
            return value
        return kind(*parts) if hasattr(value, "_fields") else kind(parts)
    if kind is dict:
        found = {key: as_data(part, lambda key=key: f"{named()}[{key!r}]", error) for key, part in value.items()}  # type: ignore[misc]
        return value if all(found[key] is part for key, part in value.items()) else found
    return _tensor(value, named, error) if _is_array(value) else value


def _number(value: np.generic) -> Any:
    """A NumPy scalar as a Python number; other objects unchanged."""
    to = {"f": float, "i": int, "u": int, "b": bool}.get(value.dtype.kind)
    return value if to is None else to(value)


def _is_array(value: Any) -> bool:
    """Whether `value` is an array or a column, of any library; a data frame is neither."""
    if isinstance(value, np.ndarray):
        return True
    array = hasattr(type(value), "__array__") and not hasattr(value, "columns")
    return array and (hasattr(value, "dtype") or (hasattr(value, "type") and hasattr(value, "to_numpy")))


def _tensor(value: Any, named: Callable[[], str], error: type[SursumError]) -> Tensor:
    if hasattr(getattr(value, "dtype", None), "categories"):
        codes = "cat.codes" if hasattr(value, "cat") else "codes"
        raise error(f"{named()} is a column of categories. Give the code of each row, `.{codes}`, from 0; -1 is missing.")
    missing = _find_missing(value)
    if missing.any():
        places = ", ".join(f"[{', '.join(map(str, place))}]" for place in np.argwhere(missing)[:3].tolist())
        more = f" and {missing.sum() - 3} more" if missing.sum() > 3 else ""
        raise error(
            f"{named()} has missing values, at {places}{more}. Leave those rows out; or fill them with any value, give "
            "`present`, a column of bools, as well, and mask what is observed: `dist.Normal(…).mask(present)`."
        )
    array = _numpy(value)
    if array.dtype.kind not in "fiubc":
        raise error(f"{named()} holds {_what(array)}")
    if array.dtype.kind == "u" and array.size and int(array.max()) > _LARGEST:
        raise error(f"{named()} holds {array.max()}, larger than any integer in torch. Give floats.")
    array = array.astype(_dtype(array.dtype), copy=False)
    if isinstance(array, np.memmap) and (mapped := map_file(array)) is not None:
        return mapped
    if not array.flags.writeable and array.nbytes >= _LARGE and (mapped := map_memory(array)) is not None:
        return mapped
    _warn_of_copy(value, array)
    fits = array.flags.writeable and all(step >= 0 and step % array.itemsize == 0 for step in array.strides)
    return torch.from_numpy(array if fits else np.array(array, order="C", subok=False))


def _dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Torch's equivalent of a NumPy dtype, without loss of digits where possible."""
    if dtype.kind in "iu":
        return np.dtype(np.int64)
    widest = {"f": np.dtype(np.float64), "c": np.dtype(np.complex128)}.get(dtype.kind, dtype)
    return widest if dtype.itemsize > widest.itemsize else dtype.newbyteorder("=")


def _find_missing(value: Any) -> np.ndarray[Any, Any]:
    """Where a column marks a missing value; a NaN is not missing."""
    if isinstance(value, np.ma.MaskedArray):
        return np.ma.getmaskarray(value)
    if isinstance(value, np.ndarray):
        return np.array([item is None for item in value.ravel()]).reshape(value.shape) if value.dtype.hasobject else np.array(0)
    if getattr(value, "null_count", None) == 0:  # of Arrow, which has counted
        return np.array(False)
    of_columns = getattr(value, "dtype", None)
    may = not isinstance(of_columns, np.dtype) or of_columns.hasobject
    test = getattr(value, "isna", None) if may else None
    test = test or (getattr(value, "is_null", None) if hasattr(value, "null_count") else None)
    return np.asarray(test()).astype(bool) if callable(test) else np.array(False)


def _numpy(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, np.memmap):
        return value
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    chunks = getattr(value, "chunks", None)  # of Arrow: a column, where it lies if there is one piece
    if isinstance(chunks, list) and len(chunks) == 1:
        value = chunks[0]
    plain = getattr(getattr(value, "dtype", None), "numpy_dtype", None)
    if isinstance(plain, np.dtype) and plain.kind in "fiub":
        return np.asarray(value.to_numpy(dtype=plain))
    return np.asarray(value)


def _warn_of_copy(value: Any, array: np.ndarray[Any, Any]) -> None:
    """Warn where a column is copied that could be read where it lies."""
    chunks = getattr(value, "chunks", None)
    if not isinstance(chunks, list) or len(chunks) < 2 or array.nbytes < _LARGE:
        return
    first = np.asarray(chunks[0])
    if not first.flags.writeable and first.size and map_memory(first) is not None:
        warn(
            f"a column of a mapped Arrow file is in {len(chunks)} pieces, so that all of it is copied to memory. Write "
            "the file with one piece: feather.write_feather(table, path, compression='uncompressed', chunksize=len(table)).",
            EngineWarning,
        )


def _what(array: np.ndarray[Any, Any]) -> str:
    """What a non-numeric array holds, and what to do."""
    first = next((item for item in array.ravel()[:1000]), None) if array.dtype.kind == "O" else None
    if array.dtype.kind in "USTa" or isinstance(first, str):
        return "text. Number its values from 0: `codes, names = pandas.factorize(x)`, or np.unique(x, return_inverse=True)."
    if array.dtype.kind in "Mm":
        return "times. Give numbers, such as days since the first: (t - t.min()) / np.timedelta64(1, 'D')."
    if array.dtype.kind == "V":
        return f"records with the fields {', '.join(map(repr, array.dtype.names or ()))}. Give one of them: x['name']."
    return f"Python objects, such as {type(first).__name__}. Give numbers: x.astype(float)."
