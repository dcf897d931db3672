"""Pyro's handlers, with Pyro's signatures, as sursum's own underneath."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.distributions import Distribution

import sursum as su
from sursum.compat.pyro.poutine.messenger import Handler, Messenger
from sursum.compat.pyro.poutine.nodes import node_of
from sursum.compat.pyro.poutine.trace_struct import Trace
from sursum.compat.pyro.poutine.util import NonlocalExit, discrete_escape, enum_extend, site_is_subsample
from sursum.compat.pyro.running import execution
from sursum.errors import HandlerError, OptionError
from sursum.handlers import Deterministic, Param, Sample, Site, perform

Fn = Callable[..., Any] | None


def _values(data: Any, types: tuple[str, ...] = ("sample",)) -> dict[str, Any]:
    """Values by site name, of a mapping or a trace."""
    if isinstance(data, Trace):
        return {
            name: node["value"]
            for name, node in data.nodes.items()
            if node["type"] in types and not site_is_subsample(node) and not (node.get("infer") or {}).get("_deterministic")
        }
    if not isinstance(data, Mapping):
        raise OptionError(f"values by site name were expected, a mapping or a trace, but got {data!r}.")
    return dict(data)


class block(Handler, su.block):
    """Hide sites from the handlers outside.

    As in Pyro: `hide_fn` or `expose_fn` decides alone where it is given. Otherwise a site is hidden if `hide` or `hide_types`
    names it; and, unless only these two are given, if neither `expose` nor `expose_types` does.
    """

    def __init__(
        self,
        fn: Fn = None,
        hide_fn: Callable[[Any], bool | None] | None = None,
        expose_fn: Callable[[Any], bool | None] | None = None,
        hide_all: bool = True,
        expose_all: bool = False,
        hide: Collection[str] | None = None,
        expose: Collection[str] | None = None,
        hide_types: Collection[str] | None = None,
        expose_types: Collection[str] | None = None,
    ) -> None:
        if hide_fn is not None and expose_fn is not None:
            raise OptionError("block takes hide_fn or expose_fn, not both: the one is the negation of the other.")
        if hide_fn is None and expose_fn is None:
            # Both given, the one that hides everything wins, as in Pyro.
            whole = not expose_all if hide is None and hide_types is None else False
            whole = whole or expose is not None or expose_types is not None
            decide = _by_names(whole and hide_all, hide or (), expose or (), hide_types or (), expose_types or ())
        elif hide_fn is not None:
            decide = _asking(hide_fn)
        else:
            assert expose_fn is not None
            shown = _asking(expose_fn)
            decide = lambda site: not shown(site)
        super().__init__(fn, hide_fn=decide)


def _asking(fn: Callable[[Any], bool | None]) -> Callable[[Site], bool]:
    return lambda site: bool(fn(node_of(site)))


def _by_names(
    everything: bool,
    hide: Collection[str],
    expose: Collection[str],
    hide_types: Collection[str],
    expose_types: Collection[str],
) -> Callable[[Site], bool]:
    def hidden(site: Site) -> bool:
        latent = isinstance(site, (Sample, Param)) and not site["is_observed"]
        kind = site.type if latent else "observe"
        shown = site.name in expose or kind in expose_types
        return site.name in hide or kind in hide_types or (everything and not shown)

    return hidden


class condition(Handler, su.condition):
    """Observe the sites that `data`, a mapping or a trace, has values of."""

    def __init__(self, fn: Fn = None, data: Any = None) -> None:
        super().__init__(fn, data=_values(data))

    def finish(self) -> None:
        """Values that no site takes are left unused, as in Pyro."""


class do(Handler, su.do):
    """Intervene at the sites that `data` has values of."""

    def __init__(self, fn: Fn = None, data: Any = None) -> None:
        super().__init__(fn, data=_values(data))

    def finish(self) -> None:
        """Values that no site takes are left unused, as in Pyro."""


class uncondition(Handler, su.uncondition):
    """Make observed sites latent again."""

    def __init__(self, fn: Fn = None) -> None:
        super().__init__(fn)


class lift(Handler, su.lift):
    """Draw parameters from priors; a parameter of a network by its path in the store, ``net$$$fc.weight``."""

    def __init__(self, fn: Fn = None, prior: Any = None) -> None:
        if isinstance(fn, torch.nn.Module):
            fn = fn.__call__
        super().__init__(fn, prior=prior)


class substitute(Handler, su.substitute):
    """Give values to parameters."""

    def __init__(self, fn: Fn = None, data: Any = None) -> None:
        super().__init__(fn, data=_values(data, ("param",)))

    def finish(self) -> None:
        """Values that no site takes are left unused, as in Pyro."""


class scale(Handler, su.scale):
    """Multiply log densities."""

    def __init__(self, fn: Fn = None, scale: Tensor | float = 1.0) -> None:
        super().__init__(fn, scale=scale)


_MASK: ContextVar[Tensor | bool | None] = ContextVar("mask", default=None)


class mask(Handler, su.mask):
    """Leave elements out of the log density."""

    def __init__(self, fn: Fn = None, mask: Tensor | bool = True) -> None:
        super().__init__(fn, mask=mask)

    def __enter__(self) -> Any:
        outer = _MASK.get()
        self.__dict__.setdefault("_outer", []).append(outer)
        _MASK.set(self.mask if outer is None else torch.as_tensor(outer) & self.mask)
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> Any:
        _MASK.set(self.__dict__["_outer"].pop())
        return super().__exit__(kind, error, traceback)


def get_mask() -> Tensor | bool | None:
    """The mask of the `mask` handlers around this place; None without any."""
    return _MASK.get()


class seed(Handler):
    """Run the program with the global generators seeded, and restore them."""

    def __init__(self, fn: Fn = None, rng_seed: int = 0) -> None:
        super().__init__(fn)
        if isinstance(rng_seed, bool) or not isinstance(rng_seed, (int, Tensor)):
            raise OptionError(f"`rng_seed` is {rng_seed!r}, but must be an integer.")
        self.rng_seed = int(rng_seed)

    def __enter__(self) -> Any:
        states = torch.get_rng_state(), random.getstate()
        self.__dict__.setdefault("_states", []).append(states)
        torch.manual_seed(self.rng_seed)
        random.seed(self.rng_seed)
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> Any:
        state, other = self.__dict__["_states"].pop()
        torch.set_rng_state(state)
        random.setstate(other)
        return super().__exit__(kind, error, traceback)


class reparam(Handler, su.reparam):
    """Draw latent sites in other coordinates.

    Args:
        config: reparameterisers by site name; or a function from a site to one, or to None, such as `AutoReparam()`.
    """

    def __init__(self, fn: Fn = None, config: Any = None) -> None:
        super().__init__(fn, config=_config(config))

    def finish(self) -> None:
        """Entries that no site takes are left unused, as in Pyro."""


def _config(config: Any) -> Any:
    if isinstance(config, Mapping):
        return {name: _strategy(one) for name, one in config.items() if one is not None}
    if callable(config):
        configure = getattr(config, "configure", config)

        def choose(site: Sample) -> Any:
            found = configure(site)
            return None if found is None else _strategy(found)

        return choose
    return config


def _strategy(one: Any) -> Any:
    """A reparameteriser in sursum's form: a function from the site to its value."""
    if not hasattr(one, "apply"):
        return one

    def value(site: Sample) -> Tensor:
        message = {"name": site.name, "fn": site.fn, "value": site.value, "is_observed": site.is_observed}
        made = one.apply(message)
        if made["value"] is not None:
            found: Tensor = made["value"]
            return found
        auxiliary = site.but(name=f"{site.name}_{type(one).__name__}", fn=made["fn"])
        drawn: Tensor = perform(auxiliary).value
        return drawn

    return value


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


class infer_config(Handler):
    """Add settings to sites.

    Args:
        config_fn: a function from a site to a mapping that is merged into its ``infer``.
    """

    def __init__(self, fn: Fn = None, config_fn: Callable[[Any], Mapping[str, Any]] | None = None) -> None:
        super().__init__(fn)
        if config_fn is None:
            raise OptionError("infer_config needs `config_fn`, a function from a site to a mapping.")
        self.config_fn = config_fn

    def handle(self, site: Site) -> Any:
        if isinstance(site, Sample):
            site = site.but(infer={**site.infer, **self.config_fn(node_of(site))})
        return perform(site)


class broadcast(Handler):
    """Nothing more than happens anyway: distributions are broadcast by their plates."""

    def __init__(self, fn: Fn = None) -> None:
        super().__init__(fn)


class escape(Messenger):
    """Leave the program by `NonlocalExit` at the first site for which `escape_fn` is true."""

    def __init__(self, fn: Fn = None, escape_fn: Callable[[Any], bool] | None = None) -> None:
        super().__init__(fn)
        self.escape_fn = escape_fn

    def _process_message(self, msg: Any) -> None:
        if msg["type"] == "sample" and self.escape_fn is not None and self.escape_fn(msg):
            raise NonlocalExit(msg)


class equalize(Handler):
    """Let sites share the value of the first of them.

    Args:
        sites: names, or regular expressions of them.
        type: "sample" or "param".
        keep_dist: whether the later sites are still scored.
    """

    def __init__(self, fn: Fn = None, sites: str | list[str] = (), type: str = "sample", keep_dist: bool = False) -> None:  # type: ignore[assignment]
        super().__init__(fn)
        self.sites = [sites] if isinstance(sites, str) else list(sites)
        self.type, self.keep_dist = type, keep_dist
        self.value: Any = None

    def fresh(self) -> Self:
        made = super().fresh()
        made.value = None
        return made

    def handle(self, site: Site) -> Any:
        if site.type != self.type or not any(re.compile(one).match(site.name) for one in self.sites):
            return perform(site)
        if self.value is None:
            out = perform(site)
            self.value = out.value
            return out
        if isinstance(site, Sample) and not self.keep_dist:
            events = len(site.fn.event_shape) if isinstance(site.fn, Distribution) else None
            return perform(
                Deterministic(name=site.name, value=self.value, event_dim=events, plates=site.plates, where=site.where)
            )
        return perform(site.but(value=self.value))


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
            return _converted(self._inner[-1][1].trace, self.graph_type, self.param_only)
        return self._trace

    def __enter__(self) -> Any:
        inner = su.trace()
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
            self._trace = _converted(running.trace, self.graph_type, self.param_only)
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


def _converted(found: Any, graph_type: str, param_only: bool) -> Trace:
    made = Trace(graph_type)
    for site in found.values():
        if not param_only or isinstance(site, Param):
            made.add_site(site)
    return made


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


def collapse(*args: Any, **kwargs: Any) -> Any:
    """Not here: Pyro's needs funsor."""
    raise HandlerError("poutine.collapse is not here: sum a conjugate site out by hand, or sample it.")


__all__ = [
    "block",
    "broadcast",
    "collapse",
    "condition",
    "do",
    "equalize",
    "escape",
    "get_mask",
    "infer_config",
    "lift",
    "mask",
    "queue",
    "reparam",
    "replay",
    "scale",
    "seed",
    "substitute",
    "trace",
    "uncondition",
]
