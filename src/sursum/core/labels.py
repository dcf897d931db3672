"""Labels that data carry: the index of a pandas column or frame, and the plate whose elements it labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[Any]


def labels_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Labels, ...]:
    """The labels of every column and frame among the arguments of a program, also in lists, tuples and dicts.

    An index that only counts from 0 labels nothing. Neither does one that does not tell its elements apart, that has several
    levels or missing labels, or that holds anything but numbers, text and times. Times of a zone become UTC.

    Example:
        >>> import pandas as pd
        >>> labels_of((pd.Series([0.1, 0.2], index=["a", "b"]), pd.Series([1, 2])), {})
        (array(['a', 'b'], dtype='<U1'),)
    """
    return tuple(_labels([*args, *kwargs.values()]))


def _labels(values: Iterable[Any]) -> Iterator[Labels]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _labels(value)
        elif isinstance(value, dict):
            yield from _labels(value.values())
        elif any(kind.__module__.startswith("pandas.") for kind in type(value).__mro__) and hasattr(value, "iloc"):
            found = _read(value.index)
            if found is not None:
                yield found


def _read(index: Any) -> Labels | None:
    """An index as an array, if it tells its elements apart."""
    if getattr(index, "nlevels", 1) != 1 or not index.is_unique or index.hasnans:
        return None
    if getattr(index, "tz", None) is not None:
        index = index.tz_convert(None)
    found = np.asarray(index.to_numpy())
    if found.dtype.kind == "O":
        if not all(isinstance(label, str) for label in found):
            return None
        found = found.astype(str)
    if found.dtype.kind not in "iufUMm" or (found.dtype.kind in "iu" and np.array_equal(found, np.arange(len(found)))):
        return None
    return found.astype(found.dtype.newbyteorder("="))


def labels_by_plate(labels: Iterable[Labels], lengths: Iterable[tuple[str, int]]) -> dict[str, Labels]:
    """The labels of each plate, where only one plate has as many elements and all labels of that number are the same.

    Args:
        lengths: names of plates with their numbers of elements.

    Example:
        >>> labels_by_plate([np.array(["a", "b"])], [("group", 2), ("row", 5)])
        {'group': array(['a', 'b'], dtype='<U1')}
        >>> labels_by_plate([np.array(["a", "b"])], [("group", 2), ("side", 2)])
        {}
    """
    plates: dict[int, set[str]] = {}
    for name, length in lengths:
        plates.setdefault(length, set()).add(name)
    given: dict[int, list[Labels]] = {}
    for one in labels:
        given.setdefault(len(one), []).append(one)
    return {
        name: first
        for length, (first, *others) in given.items()
        if len(found := plates.get(length, set())) == 1 and all(_equal(first, other) for other in others)
        for name in found
    }


def _equal(one: Labels, other: Labels) -> bool:
    return one.dtype.kind == other.dtype.kind and np.array_equal(one, other)
