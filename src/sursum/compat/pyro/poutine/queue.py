"""`queue`: the executions of a discrete program, one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sursum.compat.pyro.poutine.executions import escape, replay, trace
from sursum.compat.pyro.poutine.messenger import Fn
from sursum.compat.pyro.poutine.util import NonlocalExit, discrete_escape, enum_extend
from sursum.errors import HandlerError


def queue(
    fn: Fn = None,
    queue: Any = None,
    max_tries: int | None = None,
    extend_fn: Any = None,
    escape_fn: Any = None,
    num_samples: int | None = None,
) -> Any:
    """A program that goes through the executions of `fn` in the queue, one a call: each is replayed, and where it meets a site
    for which `escape_fn` is true its extensions by `extend_fn` are put into the queue instead.

    Args:
        queue: a `queue.Queue` of traces.
        max_tries: how many traces to take from the queue before that is an error.
        extend_fn, escape_fn: see `poutine.util`; by default those of discrete sites.
        num_samples: how many extensions to keep of each site.
    """
    limit = int(1e6) if max_tries is None else max_tries
    extend, leaves = extend_fn or enum_extend, escape_fn or discrete_escape

    def wrap(program: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            for _ in range(limit):
                if queue.empty():
                    raise HandlerError("the queue of executions is empty.")
                begun = queue.get()
                try:
                    watched = escape(replay(program, trace=begun), escape_fn=lambda msg: leaves(begun, msg))  # noqa: B023
                    traced = trace(watched)
                    return traced(*args, **kwargs)
                except NonlocalExit as left:
                    done = traced.trace.copy()
                    for name, node in begun.nodes.items():
                        done.nodes.setdefault(name, node)
                    for longer in extend(done, left.site, num_samples=num_samples):
                        queue.put(longer)
            raise HandlerError(f"no execution was complete after {limit} tries: raise `max_tries`.")

        return run

    return wrap if fn is None else wrap(fn)
