"""`replay`, `escape` and `trace`: executions that are recorded, repeated and left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from torch import Tensor

import sursum as su
from sursum.compat.pyro.poutine.messenger import Fn, Handler, Messenger
from sursum.compat.pyro.poutine.trace_struct import Trace
from sursum.compat.pyro.poutine.util import NonlocalExit
from sursum.compat.pyro.running import execution
from sursum.errors import HandlerError, OptionError
from sursum.handlers import Param, Sample, Site, perform


class replay(Handler):
    """Give latent sites the values of a trace, and parameters those of `params`."""

    def __init__(self, fn: Fn = None, trace: Any = None, params: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(fn)
        if trace is None and params is None:
            raise OptionError("replay needs a trace: replay(model, trace=guide_trace).")
        self.trace, self.params = trace, params

    def handle(self, site: Site) -> Any:
        if isinstance(site, Param) and self.params is not None and site.name in self.params:
            site = site.but(value=self.params[site.name])
        if isinstance(site, Sample) and not site.is_observed and self.trace is not None and site.name in self.trace:
            node = self.trace.nodes[site.name]
            if node["type"] != "sample" or node["is_observed"]:
                raise HandlerError(f"site {site} is latent here, and in the trace that is replayed it is not.")
            site = site.but(value=node["value"], infer={**node["infer"], **site.infer})
        return perform(site)


class escape(Messenger):
    """Leave the program by `NonlocalExit` at the first site for which `escape_fn` is true."""

    def __init__(self, fn: Fn = None, escape_fn: Callable[[Any], bool] | None = None) -> None:
        super().__init__(fn)
        self.escape_fn = escape_fn

    def _process_message(self, msg: Any) -> None:
        if msg["type"] == "sample" and self.escape_fn is not None and self.escape_fn(msg):
            raise NonlocalExit(msg)


class trace(Handler):
    """Record the sites of an execution: ``trace(model).get_trace(*args)``, or ``with trace() as t: …; t.trace``.

    Args:
        graph_type: "flat" or "dense"; edges are kept only as they are added.
        param_only: record parameters alone.
    """

    def __init__(self, fn: Fn = None, graph_type: str | None = None, param_only: bool | None = None) -> None:
        super().__init__(fn)
        self.graph_type, self.param_only = graph_type or "flat", bool(param_only)
        self._trace = Trace(self.graph_type)
        self._inner: list[tuple[Any, Any]] = []

    def around(self, fn: Callable[..., Any]) -> Self:
        return type(self)(fn, self.graph_type, self.param_only)

    @property
    def trace(self) -> Trace:
        """What was recorded last."""
        if self._inner:
            return _converted(self._inner[-1][1].trace, self.graph_type)
        return self._trace

    def __enter__(self) -> Any:
        inner = Parameters() if self.param_only else su.trace()
        block = execution() if not self._inner else None
        if block is not None:
            block.__enter__()
        self._inner.append((inner, inner.__enter__()))
        self.__dict__.setdefault("_open", []).append(block)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> Any:
        inner, running = self._inner.pop()
        try:
            return inner.__exit__(kind, error, traceback)
        finally:
            self._trace = _converted(running.trace, self.graph_type)
            block = self.__dict__["_open"].pop()
            if block is not None:
                block.__exit__(None, None, None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.fn is None:
            if len(args) == 1 and callable(args[0]) and not kwargs:
                return self.around(args[0])
            raise OptionError("this trace has no program: write trace(model).get_trace(…).")
        with self:
            result = self.fn(*args, **kwargs)
        recorded = Trace(self.graph_type)
        recorded.add_node("_INPUT", name="_INPUT", type="args", args=args, kwargs=kwargs)
        for name, node in self._trace.nodes.items():
            recorded.nodes[name] = node
        recorded._edges |= self._trace._edges
        recorded._back |= self._trace._back
        recorded.add_node("_RETURN", name="_RETURN", type="return", value=result)
        self._trace = recorded
        return result

    def get_trace(self, *args: Any, **kwargs: Any) -> Trace:
        """The trace of one execution with these arguments."""
        self(*args, **kwargs)
        return self._trace.copy()


class Parameters(su.handlers.Messenger):
    """Records the parameters that are read, in one program or in several whose other sites share names."""

    def __init__(self) -> None:
        super().__init__()
        self.trace: dict[str, Site] = {}

    def handle(self, site: Site) -> Any:
        out = perform(site)
        if isinstance(out, Param):
            self.trace.setdefault(out.name, out)
        return out


def _converted(found: Any, graph_type: str) -> Trace:
    made = Trace(graph_type)
    for site in found.values():
        made.add_site(site)
    return made
