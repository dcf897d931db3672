"""The metadata of a posterior in a file or store, validated on reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


def words(value: Any) -> tuple[str, ...]:
    """A list of strings.

    Raises:
        TypeError: it is something else.

    Example:
        >>> words(["mu", "tau"])
        ('mu', 'tau')
    """
    if not isinstance(value, (list, tuple)) or not all(isinstance(word, str) for word in value):
        raise TypeError(f"a list of strings was expected, but found {value!r:.60}")
    return tuple(value)


def words_by_name(value: Any) -> dict[str, tuple[str, ...]]:
    """A list of strings for each name.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"lists of strings by name were expected, but found {value!r:.60}")
    return {name: words(texts) for name, texts in value.items()}


class SubjectLike(Protocol):
    """What is asked of that which draws are of, here."""

    @property
    def latents(self) -> tuple[str, ...]: ...

    @property
    def coordinates(self) -> Sequence[str]: ...

    @property
    def dims(self) -> Mapping[str, tuple[str, ...]]: ...

    @property
    def engine(self) -> str | None: ...

    @property
    def coords(self) -> Mapping[str, NDArray[Any]]: ...


def note_of(subject: SubjectLike) -> dict[str, Any]:
    """What `describe` reads again."""
    return {
        "latents": list(subject.latents),
        "coordinates": list(subject.coordinates),
        "dims": {name: list(dims) for name, dims in subject.dims.items()},
        "engine": subject.engine,
        "coords": {name: _labels_note(labels) for name, labels in subject.coords.items()},
    }


def _labels_note(labels: NDArray[Any]) -> dict[str, Any]:
    """Labels as what a text file can hold; times as integers."""
    return {"dtype": labels.dtype.str, "labels": (labels.view(np.int64) if labels.dtype.kind in "Mm" else labels).tolist()}


def labels_by_name(value: Any) -> dict[str, NDArray[Any]]:
    """The labels that are noted for each name.

    Raises:
        KeyError, TypeError, ValueError: something else is.

    Example:
        >>> labels_by_name({"school": {"dtype": "<U1", "labels": ["A", "B"]}})
        {'school': array(['A', 'B'], dtype='<U1')}
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"labels by name were expected, but found {value!r:.60}")
    return {name: _read_labels(np.dtype(note["dtype"]), note["labels"]) for name, note in value.items()}


def _read_labels(dtype: np.dtype[Any], labels: Any) -> NDArray[Any]:
    if dtype.kind not in "iufUMm":
        raise TypeError(f"labels were expected to be numbers, text or times, but are {dtype}")
    found: NDArray[Any] = np.array(labels, dtype=np.int64 if dtype.kind in "Mm" else dtype)
    if found.ndim != 1:
        raise ValueError(f"a list of labels was expected, but its shape is {found.shape}")
    return found.view(dtype) if dtype.kind in "Mm" else found


def describe(note: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """The fields of a posterior that `note` describes, whose unconstrained draws have `shape`, (chain, draw, n).

    Raises:
        KeyError: something is missing.
        TypeError, ValueError: something is invalid.

    Example:
        >>> describe({"latents": ["mu"], "coordinates": ["mu"], "dims": {"mu": []}, "pareto_k": None}, (4, 100, 1))
        {'latents': ('mu',), 'coordinates': ('mu',), 'dims': {'mu': ()}, 'coords': {}, 'notes': (), 'engine': None, \
'pareto_k': None}
    """
    coordinates, k, engine = words(note["coordinates"]), note.get("pareto_k"), note.get("engine")
    if len(shape) != 3 or (coordinates and len(coordinates) != shape[-1]):
        raise ValueError(f"there are {len(coordinates)} names of coordinates for draws of shape {shape}")
    if k is not None and (isinstance(k, bool) or not isinstance(k, (int, float))):
        raise TypeError(f"a number was expected for Pareto k, but found {k!r:.60}")
    if engine is not None and not isinstance(engine, str):
        raise TypeError(f"the name of an engine was expected, but found {engine!r:.60}")
    return {
        "latents": words(note["latents"]),
        "coordinates": coordinates,
        "dims": words_by_name(note["dims"]),
        "coords": labels_by_name(note.get("coords", {})),
        "notes": words(note.get("notes", ())),
        "engine": engine,
        "pareto_k": k,
    }
