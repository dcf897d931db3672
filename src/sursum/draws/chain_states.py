"""The states of a stored run's chains, from which a run that was cut short continues: a file each, with a checksum."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from sursum.errors import StorageError
from sursum.io.file_lock import FileLock, Held
from sursum.io.files import write_atomically, writing

FOLDER = "counts/sample/.chains"
"""Within an array, where readers of Zarr look for nothing else."""

DIGEST = 32


def writer_of(store: str | os.PathLike[str], *, new: bool = False) -> FileLock:
    """The right to write the store of a run, which may be new: one run has it at a time.

    Raises:
        StorageError: another run has it; the file system refuses.
    """
    if new:
        with writing(store):
            Path(store, FOLDER).mkdir(parents=True, exist_ok=True)
    try:
        return FileLock.take(Path(store, FOLDER, "writer"))
    except Held as other:
        raise StorageError(
            f"{os.fspath(store)!r} is being written by {other}, and only one run at a time can write a store. Wait until that "
            "one has ended, or stop it; `Posterior.load` reads what it has written so far."
        ) from None


def write_state(store: str | os.PathLike[str], chain: int, state: bytes) -> None:
    """Put a chain's state in place of the one before, whole or not at all.

    Raises:
        StorageError: the file system refuses.
    """
    with writing(store, "The draws that were already stored are intact"):
        folder = Path(store, FOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        # What a power cut may leave is recognised by its checksum.
        write_atomically(folder / str(chain), hashlib.sha256(state).digest() + state, durable=False)


def read_states(store: str | os.PathLike[str], chains: int) -> tuple[bytes, ...]:
    """The states of all chains; none if one of them is missing or damaged.

    Example:
        >>> read_states("no such store", 4)
        ()
    """
    found = []
    for chain in range(chains):
        try:
            content = Path(store, FOLDER, str(chain)).read_bytes()
        except OSError:
            return ()
        digest, state = content[:DIGEST], content[DIGEST:]
        if hashlib.sha256(state).digest() != digest:
            return ()
        found.append(state)
    return tuple(found)
