"""Storages that a recording has met."""

from __future__ import annotations

import torch

from sursum.common.torch_private import StorageWeakRef, alive_storage


class KeptStorage:
    """A storage whose address is not used again, and whose memory is freed where nothing else needs it.

    All that a program computes from large data would not fit beside it.

    Example:
        >>> tensor = torch.ones(3)
        >>> kept = KeptStorage(tensor.untyped_storage())
        >>> kept.nbytes(), kept.address == tensor.untyped_storage()._cdata
        (12, True)
    """

    def __init__(self, storage: torch.UntypedStorage) -> None:
        self.address = storage._cdata
        self._weak = StorageWeakRef(storage)

    def nbytes(self) -> int:
        """Its size, while it is alive."""
        return alive_storage(self._weak.cdata).nbytes()
