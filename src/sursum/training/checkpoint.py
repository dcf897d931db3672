"""The file from which a run goes on: plain values and tensors, bit for bit, written every so many steps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sursum.common.settings import check_setting, whole_number
from sursum.errors import SursumError
from sursum.io import npz
from sursum.io.files import interpreting

VERSION = 1

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class State:
    """What a run needs to go on: a note of plain values, and tensors; `source` is the file from which they were read."""

    note: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    source: Path = ""

    def within(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under a prefix, by the rest of their names."""
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


def write_state(path: Path, kind: str, state: State, error: type[SursumError]) -> None:
    """Write a state to one file (NumPy's `.npz`, no pickles), all or nothing.

    Raises:
        StorageError: the file system reports an error.
        SursumError: of the class `error`; the state of an optimiser or of a schedule is more than numbers and strings.
    """
    halves = [name for name, tensor in state.tensors.items() if tensor.dtype is torch.bfloat16]
    arrays = {name: npz.as_array(tensor) for name, tensor in state.tensors.items()}
    try:
        npz.write(path, kind, VERSION, {**state.note, "halves": halves}, arrays)
    except TypeError as failure:
        raise error(
            f"the state of the optimiser or of its schedule cannot be saved: {failure}. Numbers, strings and tensors were "
            "expected in it."
        ) from failure


def read_state(path: Path, kind: str) -> State:
    """The state in a file of `write_state`. Nothing in it is executed.

    Raises:
        StorageError: the file is truncated, damaged, or of a different kind.
    """
    note, arrays = npz.read(path, kind, VERSION)
    with interpreting(path, f"a {kind} file"):
        halves = set(note.get("halves", ()))
        tensors = {name: npz.as_tensor(array, "bfloat16" if name in halves else "") for name, array in arrays.items()}
        return State(note, tensors, path)


def check_checkpoint(path: Any, every: Any, error: type[SursumError]) -> int:
    """Check the settings `checkpoint` and `checkpoint_every`, and return the latter.

    That a file can lie there is checked too: the first one may be written after hours, which would be lost.
    """
    right = path is None or isinstance(path, (str, os.PathLike))
    check_setting("checkpoint", right, path, "the path of a file", error, "give a name, such as 'run.npz', or leave it out")
    if path is not None:
        folder = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(folder):
            raise error(f"`checkpoint` is {os.fspath(path)!r}, but the folder {folder!r} does not exist: create it first.")
        if os.path.isdir(path):
            raise error(f"`checkpoint` is {os.fspath(path)!r}, but that is a folder: give the path of a file in it.")
        if not os.access(folder, os.W_OK):
            raise error(f"`checkpoint` is {os.fspath(path)!r}, but files in {folder!r} cannot be written: give another folder.")
    return whole_number("checkpoint_every", every, 1, error, "write `checkpoint_every=1000`, say")


def check_same_settings(state: State, now: Mapping[str, Any], error: type[SursumError]) -> None:
    """Raise unless a run was saved with the settings that there are now."""
    saved = state.note["settings"]
    for name, value in now.items():
        if saved.get(name) != _as_saved(value):
            raise error(
                f"{os.fspath(state.source)!r} was written by a run with {name}={saved.get(name)!r}, and here it is {value!r}. "
                "Resume it with the settings that it had."
            )


def engine_of(state: State, asked: str | None, error: type[SursumError]) -> str:
    """The engine of the run that was cut short, which goes on bit for bit with no other; `asked` is the one of the settings."""
    saved = str(state.note["settings"]["engine"])
    if asked is not None:
        check_same_settings(state, {"engine": asked}, error)
    return saved


def check_same_data(state: State, data: str, error: type[SursumError]) -> None:
    """Raise unless a run was saved with the data that have this fingerprint."""
    if state.note["data"] != data:
        raise error(
            f"{os.fspath(state.source)!r} was written by a run with other data: the arguments of the program are not those "
            "that it had. Resume it with them, or run the method on these from the beginning."
        )


def _as_saved(value: Any) -> Any:
    """A setting as it is read from a file, in which tuples are lists, and the keys of a mapping are strings."""
    if isinstance(value, Mapping):
        return {str(key): _as_saved(one) for key, one in value.items()}
    return [_as_saved(one) for one in value] if isinstance(value, (list, tuple)) else value
