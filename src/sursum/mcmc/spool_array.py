"""One array of nutpie's store, read file by file: Zarr's own reader takes many times as long."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class SpoolArray:
    """An array of (1, draw, *shape) in files of `size` draws each; a file that does not exist holds the fill value.

    `codec` is that of numcodecs that decodes a file, None for one that is read as it is.
    """

    folder: Path
    length: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int
    fill: Any
    codec: Any

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The array in this folder.

        Raises:
            ValueError: it is stored in a way that is not nutpie's.
        """
        content = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
        _, length, *shape = content["shape"]
        _, size, *rest = content["chunk_grid"]["configuration"]["chunk_shape"]
        first, *others = content["codecs"]
        if first != {"name": "bytes", "configuration": {"endian": "little"}} and first != {"name": "bytes"}:
            raise ValueError(f"{folder}: codecs {content['codecs']}")
        if rest != shape or len(others) > 1 or content["chunk_key_encoding"]["name"] != "default":
            raise ValueError(f"{folder}: chunks {content['chunk_grid']}, codecs {content['codecs']}")
        fill = content["fill_value"]
        return cls(
            folder,
            length,
            tuple(shape),
            np.dtype(content["data_type"]).newbyteorder("<"),
            size,
            np.nan if fill == "NaN" else fill,
            _codec(others[0]["name"]) if others else None,
        )

    def file(self, index: int) -> Path:
        """The file of the `index`-th group of draws, or its folder if a draw has a dimension."""
        return self.folder / "c" / "0" / str(index)

    def written(self, index: int) -> bool:
        """Whether a file has been written."""
        return self.file(index).exists()

    def read(self, begin: int, end: int) -> NDArray[Any]:
        """The draws from `begin` to `end`, (draw, *shape)."""
        first, last = begin // self.size, -(-end // self.size)
        files = [self._content(index) for index in range(first, last)]
        whole = np.concatenate(files) if files else np.empty((0, *self.shape), self.dtype)
        return whole[begin - first * self.size : end - first * self.size].astype(self.dtype.newbyteorder("="), copy=False)

    def _content(self, index: int) -> NDArray[Any]:
        try:
            content = self.file(index).joinpath(*["0"] * len(self.shape)).read_bytes()
        except FileNotFoundError:
            return np.full((self.size, *self.shape), self.fill, self.dtype)
        return np.frombuffer(content if self.codec is None else self.codec.decode(content), self.dtype).reshape(
            self.size, *self.shape
        )


def forget(folder: Path, first: int, last: int) -> None:
    """Remove files of any array."""
    for index in range(first, last):
        path = folder / "c" / "0" / str(index)
        try:
            path.unlink(missing_ok=True)
        except OSError:  # a folder, where a draw has a dimension
            shutil.rmtree(path, ignore_errors=True)


def _codec(name: str) -> Any:
    """The codec of this name in Zarr's format 3. What it was configured with is written in what it wrote."""
    import numcodecs  # type: ignore[import-untyped]

    known = {"blosc": numcodecs.Blosc, "zstd": numcodecs.Zstd, "gzip": numcodecs.GZip}
    if name not in known:
        raise ValueError(f"the codec {name!r}")
    return known[name]()
