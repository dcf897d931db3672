"""`Messenger` as Pyro's users write it: methods `_pyro_sample(msg)` and `_pyro_post_sample(msg)` that change a dictionary."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from sursum.compat.pyro.poutine.nodes import node_of, site_of
from sursum.compat.pyro.running import execution, is_running
from sursum.handlers import Messenger as SursumMessenger
from sursum.handlers import Site, perform

Fn = Callable[..., Any] | None
"""The program of a handler; None if it is given later, or used as a `with` block."""


class Handler(SursumMessenger):
    """A handler here: its program's networks have their own parameters again when it ends."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.fn is None:
            return super().__call__(*args, **kwargs)
        with execution():
            return super().__call__(*args, **kwargs)

    def __enter__(self) -> Any:
        if not is_running():
            # With nothing running, the block is the program.
            block = execution()
            block.__enter__()
            self.__dict__.setdefault("_blocks", []).append(block)
        else:
            self.__dict__.setdefault("_blocks", []).append(None)
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> Any:
        try:
            return super().__exit__(kind, error, traceback)
        finally:
            block = self.__dict__["_blocks"].pop()
            if block is not None:
                block.__exit__(None, None, None)

    def around(self, fn: Callable[..., Any]) -> Self:
        made = copy.copy(self)
        made.fn = fn
        made.__dict__.pop("_blocks", None)
        return made


class Messenger(Handler):
    """The base class of handlers in Pyro's manner.

    A subclass changes the message in ``_pyro_sample(msg)`` on the way out and in ``_pyro_post_sample(msg)`` on the way back;
    likewise for ``param`` and the types of one's own operations. Its attributes are shared between its executions.

    Example:
        >>> import torch, sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> class Shift(Messenger):
        ...     def _pyro_post_sample(self, msg):
        ...         msg["value"] = msg["value"] + 1.0
        >>> with Shift():
        ...     pyro.sample("x", dist.Delta(torch.tensor(2.0)))
        tensor(3.)
    """

    def __init__(self, fn: Callable[..., Any] | None = None) -> None:
        super().__init__(fn)

    def fresh(self) -> Self:
        """A stand-in on the stack that shares this handler's state."""
        made = object.__new__(type(self))
        made.__dict__ = self.__dict__.copy()
        made.origin = self
        return made

    def __enter__(self) -> Any:
        super().__enter__()
        return self

    def handle(self, site: Site) -> Any:
        owner: Any = self.origin if self.origin is not None else self
        message = node_of(site)
        owner._process_message(message)
        changed = site_of(message, site)
        out = changed.run() if message["stop"] else perform(changed)
        returned = node_of(out)
        for key, value in message.items():
            returned.setdefault(key, value)
        returned["infer"] = {**message["infer"], **returned["infer"]}
        owner._postprocess_message(returned)
        return site_of(returned, out)

    def _process_message(self, msg: Any) -> None:
        method = getattr(self, f"_pyro_{msg['type']}", None)
        if method is not None:
            method(msg)

    def _postprocess_message(self, msg: Any) -> None:
        method = getattr(self, f"_pyro_post_{msg['type']}", None)
        if method is not None:
            method(msg)

    def _reset(self) -> None:
        """Called by subclasses; there is nothing to reset here."""
