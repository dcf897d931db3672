"""Which operators of torch a program runs."""

from __future__ import annotations

from sursum.common.torch_private import TorchDispatchMode


class Called(TorchDispatchMode):
    """Notes the operators that are run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(".".join(str(func).split(".")[:2]))
        return func(*args, **(kwargs or {}))
