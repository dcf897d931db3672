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
    """Check the settings `checkpoint` and `checkpoint_every`, and return the latter."""
    right = path is None or isinstance(path, (str, os.PathLike))
    check_setting("checkpoint", right, path, "the path of a file", error, "give a name, such as 'run.npz', or leave it out")
    return whole_number("checkpoint_every", every, 1, error, "write `checkpoint_every=1000`, say")


def check_same_settings(state: State, now: Mapping[str, Any], error: type[SursumError]) -> None:
    """Raise unless a run was saved with the settings that there are now."""
    saved = state.note["settings"]
    for name, value in now.items():
        if saved.get(name) != value:
            raise error(
                f"{os.fspath(state.source)!r} was written by a run with {name}={saved.get(name)!r}, and here it is {value!r}. "
                "Resume it with the settings that it had."
            )
