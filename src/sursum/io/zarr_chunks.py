"""Write the chunks of a growing array ourselves: Zarr takes a millisecond for each, and a block of draws has many."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.io.files import write_atomically

LEVEL = 1
"""Of zstd: the fastest."""


@dataclass(eq=False)
class ChunkWriter:
    """Writes the rows of an array of Zarr, (chain, draw, *shape), whose chunks are some draws of one chain, zstd and CRC-32C.

    A chunk that is not full is kept, and written again with what comes next.

    Args:
        folder: of the array.
        array: as Zarr opens it, to read what an earlier writer has left.
    """

    folder: Path
    array: Any
    _tails: dict[int, tuple[int, NDArray[Any]]] = field(default_factory=dict, init=False)

    def write(self, chain: int, begin: int, values: NDArray[Any]) -> list[Path]:
        """Write the draws from `begin` on; the files that were changed."""
        return list(self._files(chain, begin, values))

    def _files(self, chain: int, begin: int, values: NDArray[Any]) -> Iterator[Path]:
        rows, end, shape = self.array.chunks[1], begin + len(values), self.array.shape[2:]
        for index in range(begin // rows, -(-end // rows)) if 0 not in self.array.shape else ():
            first = index * rows
            known, chunk = self._tails.get(chain, (-1, None))
            if chunk is None or known != index:
                chunk = np.zeros((rows, *shape), self.array.dtype)
                if begin > first:
                    chunk[: begin - first] = self.array[chain, first:begin]
            low, high = max(begin, first), min(end, first + rows)
            chunk[low - first : high - first] = values[low - begin : high - begin]
            self._tails[chain] = (index, chunk)
            file = self.folder.joinpath("c", *map(str, (chain, index, *[0] * len(shape))))
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, encode(chunk), durable=False)
            yield file


def encode(chunk: NDArray[Any]) -> bytes:
    """The bytes of a chunk: little-endian numbers, compressed, and their checksum."""
    import numcodecs  # type: ignore[import-untyped]

    little = chunk if sys.byteorder == "little" else chunk.byteswap()
    content: bytes = numcodecs.Zstd(level=LEVEL).encode(np.ascontiguousarray(little))
    return content + _crc32c(content).to_bytes(4, "little")


def _crc32c(content: bytes) -> int:
    """The checksum, by the package that this version of Zarr depends on."""
    try:
        import google_crc32c
    except ImportError:
        import crc32c  # type: ignore[import-not-found, unused-ignore]

        return int(crc32c.crc32c(content))
    return int(google_crc32c.value(content))
