"""`EasyGuide`: a guide by hand in which groups of sites are drawn together, their shapes and supports being the model's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import new_class
from typing import Any

import torch
from torch import Tensor

import sursum as su
from sursum.compat.pyro import plates, poutine
from sursum.compat.pyro.contrib.easyguide.group import Group
from sursum.compat.pyro.distributions import Delta
from sursum.compat.pyro.nn import PyroModule, PyroParam
from sursum.compat.pyro.poutine.nodes import CondIndepStackFrame, Subsample
from sursum.compat.pyro.poutine.util import site_is_subsample
from sursum.compat.pyro.primitives import param, sample, subsample
from sursum.compat.pyro.running import as_program
from sursum.errors import GuideError
from sursum.handlers import Sample


class EasyGuide(PyroModule):
    r"""A guide that knows the sites of its model, as the base of a class whose method `guide` draws them.

    In `guide`, ``self.group(match="site_.*")`` gives sites by a regular expression: its `sample` draws all their
    unconstrained coordinates :math:`u` by one distribution, an auxiliary site with density :math:`q(u)`, and each site
    :math:`z = T(u)` follows with the density :math:`1 / \lvert T'(u) \rvert`.
    ``self.map_estimate("z")`` puts a site at a point that is learnt.

    Args:
        model: the program.

    Raises:
        GuideError: the class has no `guide`; a pattern that no latent site matches, a name that no latent site has; a site in a
            sequential plate; a discrete site.

    Example:
        >>> import torch, sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> pyro.clear_param_store()
        >>> pyro.set_rng_seed(0)
        >>> def model(y):
        ...     a = pyro.sample("a", dist.Normal(0.0, 1.0))
        ...     scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        ...     with pyro.plate("data", len(y)):
        ...         pyro.sample("y", dist.Normal(a, scale), obs=y)
        >>> class Joint(EasyGuide):
        ...     def guide(self, y):
        ...         both = self.group(match="a|scale")
        ...         loc = pyro.param("loc", torch.zeros(both.event_shape))
        ...         return both.sample("both", dist.Normal(loc, 0.1).to_event(1))
        >>> together, each = Joint(model)(torch.ones(3))
        >>> together.shape, sorted(each), bool(each["scale"] == together[1].exp())
        (torch.Size([2]), ['a', 'scale'], True)
    """

    model: Callable[..., Any]

    def __init__(self, model: Callable[..., Any]) -> None:
        super().__init__()
        if not callable(model):
            raise GuideError(f"`model` is {model!r}, but must be a program: a callable.")
        if type(self).guide is EasyGuide.guide:
            raise GuideError(f"{type(self).__name__} has no method `guide`, which draws the latent sites. Write one.")
        # Not an attribute of the module, of which the model's networks would become a part.
        self.__dict__["model"] = model
        self._pyro_name = type(self).__name__
        self._ours = su.infer.autoguide.AutoGuide(as_program(model))
        self.prototype_trace: poutine.Trace | None = None
        self.groups: dict[str, Group] = {}
        self.plates: dict[str, plates.plate] = {}
        self.frames: dict[str, CondIndepStackFrame] = {}
        self._called: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
        self._sizes: tuple[Any, ...] = ()

    def guide(self, *args: Any, **kwargs: Any) -> Any:
        """Draw the latent sites of the model; it has the same arguments."""
        raise NotImplementedError

    def init(self, site: Any) -> Tensor:
        """The value of a latent site in the run that finds the sites, where `map_estimate` starts: a draw from its prior."""
        value: Tensor = site["fn"].sample()
        return value

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What `guide` returns."""
        self._called = args, kwargs
        if self.prototype_trace is None:
            found = self._run()
            self.frames, self._sizes = _frames(found), tuple(_sizes(self._called))
            self.prototype_trace = found
        self.plates.clear()
        try:
            return self.guide(*args, **kwargs)
        finally:
            self.plates.clear()
            self._called = ((), {})

    def _run(self) -> poutine.Trace:
        """The trace of the model at its initial values, of which nothing else learns."""
        args, kwargs = self._called
        model = _Starting(self.model, self.init)
        with torch.no_grad():
            found: poutine.Trace = poutine.block(poutine.trace(model).get_trace)(*args, **kwargs)
        return found

    def plate(
        self,
        name: str,
        size: int | None = None,
        subsample_size: int | None = None,
        subsample: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> plates.plate:
        """A plate of the guide, one object in each execution, at the dimension that the model has it at.

        Args:
            name: its name.
            size, subsample_size, subsample, args, kwargs: as of `pyro.plate`. Without a size it is the model's, at the
                arguments of this call.

        Raises:
            GuideError: the model has no such plate, or is given the rows of it that are present.
        """
        if name not in self.plates:
            if size is None and subsample is None:
                size, subsample_size = self._size_of(name)
            if name in self.frames and not args:
                kwargs.setdefault("dim", self.frames[name].dim)
            self.plates[name] = plates.plate(name, size, subsample_size, subsample, *args, **kwargs)
        return self.plates[name]

    def _size_of(self, name: str) -> tuple[int, int | None]:
        """The size of a plate of the model, and how many of its elements are present."""
        sizes = tuple(_sizes(self._called))
        if sizes != self._sizes:  # a batch of another size, perhaps
            with torch.random.fork_rng(devices=[]):
                self.frames = _frames(self._run())
            self._sizes = sizes
        frame = self.frames.get(name)
        if frame is None:
            known = ", ".join(map(repr, self.frames)) or "none"
            raise GuideError(f"the model has no plate {name!r} around a latent site, only {known}. Give the plate a size.")
        if frame.full_size is None or frame.full_size == frame.size:
            return frame.size, None
        if frame.name not in _drawn(self.prototype_trace):
            raise GuideError(
                f"the model is given the rows of plate {name!r} that are present, so the guide must have the same ones: open "
                f"self.plate({name!r}, {frame.full_size}, subsample=…) before sites in it are drawn."
            )
        return frame.full_size, frame.size

    def open(self, frames: Sequence[CondIndepStackFrame]) -> ExitStack:
        """Open those of the plates that are not open yet."""
        with ExitStack() as opened:
            for frame in frames:
                if frame.name not in {one.name for one in plates.open_plates()}:
                    opened.enter_context(self.plate(frame.name))
            return opened.pop_all()

    def onto(self, node: Any) -> Any:
        """The bijection from unconstrained coordinates onto the support of a site."""
        return self._ours.onto(node.site)

    def _latent(self) -> Iterator[tuple[str, Any]]:
        if self.prototype_trace is None:
            raise GuideError(f"{type(self).__name__} knows the sites of its model once it has been called.")
        yield from ((name, node) for name, node in self.prototype_trace.iter_stochastic_nodes() if not site_is_subsample(node))

    def group(self, match: str = ".*") -> Group:
        """The latent sites whose names a regular expression matches at their beginning, to be drawn together.

        Args:
            match: the expression.
        """
        if match not in self.groups:
            sites = [node for name, node in self._latent() if re.match(match, name)]
            if not sites:
                known = ", ".join(repr(name) for name, _ in self._latent()) or "none"
                raise GuideError(f"group(match={match!r}) matches no latent site of the model, which has {known}.")
            self.groups[match] = Group(self, sites)
        return self.groups[match]

    def map_estimate(self, name: str) -> Tensor:
        """Draw a site at a point, a parameter of the guide: the maximum a posteriori estimate.

        Args:
            name: of a latent site.

        Returns:
            The value, of the elements that are present in its plates.
        """
        node = dict(self._latent()).get(name)
        if node is None:
            known = ", ".join(repr(one) for one, _ in self._latent())
            raise GuideError(f"the model has no latent site {name!r}, only {known}.")
        fn = node["fn"]
        events = len(fn.event_shape)
        self.onto(node)
        with self.open(node["cond_indep_stack"]):
            whole = self._point(name, node)
            present = subsample(whole, events)
            return sample(name, Delta(present, event_dim=events))

    def _point(self, name: str, node: Any) -> Tensor:
        """The parameter of a site's point: of whole plates, where it starts from those elements that the first run had."""
        fn = node["fn"]

        def start() -> Tensor:
            value: Tensor = node["value"].detach()
            for frame in node["cond_indep_stack"]:
                if frame.full_size != frame.size:
                    again = torch.arange(frame.full_size) % frame.size
                    value = value.index_select(frame.dim - len(fn.event_shape), again)
            return value

        if "." in name:  # no name of an attribute of torch's modules
            return param(self._pyro_get_fullname(name), start, fn.support)
        if name not in self._pyro_params:
            setattr(self, name, PyroParam(start(), fn.support))
        value: Tensor = getattr(self, name)
        return value


class _Starting(poutine.Messenger):
    """Latent sites at the values of a function."""

    def __init__(self, fn: Callable[..., Any], init: Callable[[Any], Any]) -> None:
        super().__init__(fn)
        self.init = init

    def _pyro_sample(self, msg: Any) -> None:
        latent = isinstance(msg.site, Sample) and not msg["is_observed"] and msg["value"] is None
        if latent and not site_is_subsample(msg):
            msg["value"] = self.init(msg)


def _frames(found: poutine.Trace) -> dict[str, CondIndepStackFrame]:
    """The plates around the latent sites of a trace, by name."""
    frames: dict[str, CondIndepStackFrame] = {}
    for name, node in found.iter_stochastic_nodes():
        if len(node.site.plates) != sum(frame.vectorized for frame in node["cond_indep_stack"]):
            raise GuideError(f"latent site {name!r} is in a sequential plate or a scan. Write its guide without EasyGuide.")
        frames |= {frame.name: frame for frame in node["cond_indep_stack"]}
    return frames


def _drawn(found: Any) -> set[str]:
    """The plates whose present elements the program itself drew."""
    nodes = {name: node for name, node in found.nodes.items() if site_is_subsample(node)}
    return {name for name, node in nodes.items() if not isinstance(node["fn"], Subsample)}


def _sizes(value: Any) -> Iterator[Any]:
    """What sizes of plates may come from: shapes, integers and lengths."""
    if isinstance(value, Tensor):
        yield tuple(value.shape)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value
    elif isinstance(value, (list, tuple)):
        yield len(value)
        for one in value:
            yield from _sizes(one)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield key
            yield from _sizes(one)


def easy_guide(model: Callable[..., Any]) -> Callable[[Callable[..., Any]], EasyGuide]:
    """Make a function an `EasyGuide` of this model: it is the method `guide`.

    Args:
        model: the program.

    Example:
        >>> import torch, sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> pyro.clear_param_store()
        >>> @easy_guide(lambda: pyro.sample("z", dist.Normal(0.0, 1.0)))
        ... def guide(self):
        ...     return self.map_estimate("z")
        >>> z = guide()
        >>> list(pyro.get_param_store()), bool(z == guide())
        (['guide.z'], True)
    """

    def decorate(fn: Callable[..., Any]) -> EasyGuide:
        kind: type[EasyGuide] = new_class(fn.__name__, (EasyGuide,), {}, lambda body: body.update(guide=fn))
        return kind(model)

    return decorate
