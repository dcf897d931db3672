"""`PyroModule`: a network whose parameters are sites of the program that calls it.

Reading an attribute of it reads a parameter of the store or draws a random variable, once in each call of the outermost module:
so a layer's forward pass uses what was drawn, and priors may depend on one another.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

import sursum as su
from sursum.compat.pyro.primitives import param, sample
from sursum.compat.pyro.store import STORE
from sursum.errors import SiteError
from sursum.handlers import Param, perform


class PyroParam(NamedTuple):
    """A parameter with a constraint, as an attribute; also a decorator of a method that gives its initial value.

    Args:
        init_value: its initial value, or a function of the module that returns it.
        constraint, event_dim: as of `pyro.param`.
    """

    init_value: Any = None
    constraint: constraints.Constraint = constraints.real
    event_dim: int | None = None

    def __get__(self, obj: Any, owner: Any = None) -> Any:
        if obj is None:
            return self
        name = _name_in(type(obj), self)
        if name not in obj._pyro_params:
            start = functools.partial(self.init_value, obj) if callable(self.init_value) else self.init_value
            setattr(obj, name, PyroParam(start, self.constraint, self.event_dim))
        return obj.__getattr__(name)

    def __call__(self, init_value: Callable[[Any], Tensor]) -> PyroParam:
        """As a decorator with options."""
        return PyroParam(init_value, self.constraint, self.event_dim)


class PyroSample:
    """A random variable as an attribute; also a decorator of a method that gives its distribution.

    Args:
        prior: a distribution, or a function of the module that returns one, which may read its other attributes.
    """

    def __init__(self, prior: Any) -> None:
        if not isinstance(prior, Distribution) and not callable(prior):
            raise SiteError(f"PyroSample needs a distribution, or a function of the module that returns one, not {prior!r}.")
        self.prior = prior
        self.name: str | None = None

    def __get__(self, obj: Any, owner: Any = None) -> Any:
        if obj is None:
            return self
        name = _name_in(type(obj), self)
        if name not in obj._pyro_samples:
            setattr(obj, name, PyroSample(self.prior))
        return obj.__getattr__(name)


def _name_in(cls: type, thing: Any) -> str:
    return next(name for kind in cls.__mro__ for name, value in vars(kind).items() if value is thing)


class Context:
    """What a call of the outermost module has read so far."""

    def __init__(self) -> None:
        self.depth = 0
        self.values: dict[str, Any] = {}

    @property
    def active(self) -> bool:
        return self.depth > 0

    def __enter__(self) -> Context:
        if not self.depth:
            self.values = {}
        self.depth += 1
        return self

    def __exit__(self, *error: object) -> None:
        self.depth -= 1
        if not self.depth:
            self.values = {}

    def get(self, name: str, read: Callable[[], Any]) -> Any:
        """What `read` gives, once in a call."""
        if not self.active:
            return read()
        if name not in self.values:
            self.values[name] = read()
        return self.values[name]


class _Meta(type):
    """`PyroModule[nn.Linear]` is the class of linear layers that are `PyroModule` as well."""

    def __getitem__(cls, base: type) -> Any:
        if not isinstance(base, type) or not issubclass(base, nn.Module):
            raise SiteError(f"PyroModule[…] takes a class of torch.nn, not {base!r}: PyroModule[nn.Linear].")
        if issubclass(base, PyroModule):
            return base
        kind: Any = base
        return _mix(kind)

    def __setattr__(cls, name: str, value: Any) -> None:
        super().__setattr__(name, value)


@functools.cache
def _mix(base: Any) -> Any:
    extra: dict[str, Any] = {"__module__": __name__, "__doc__": f"`torch.nn.{base.__name__}` as a `PyroModule`."}
    if issubclass(base, nn.RNNBase):
        extra["_flat_weights"] = property(_flat_weights, lambda self, value: None)
        extra["flatten_parameters"] = lambda self: None
    return _Meta(f"Pyro{base.__name__}", (PyroModule, base), extra)


def _flat_weights(layer: Any) -> list[Any]:
    """The weights of a recurrent layer as it reads them."""
    return [getattr(layer, name) for name in layer._flat_weights_names]


class PyroModule(nn.Module, metaclass=_Meta):
    """A `torch.nn.Module` whose parameters are sites.

    Attributes that are `PyroParam` are parameters of the store with constraints, `PyroSample` random variables, and
    `torch.nn.Parameter` parameters of the store. A site's name is its path from the outermost module, ``linear.weight``.

    Args:
        name: the name of the outermost module, a prefix of its sites' names; empty as a rule.

    Example:
        >>> import torch, sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> linear = PyroModule[torch.nn.Linear](2, 1)
        >>> linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 2]).to_event(2))
        >>> trace = pyro.poutine.trace(linear).get_trace(torch.ones(3, 2))
        >>> trace.stochastic_nodes, trace.nodes["_RETURN"]["value"].shape
        (['weight'], torch.Size([3, 1]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        state = self.__dict__
        state["_pyro_name"] = kwargs.pop("name", "") if type(self).__mro__[1] is nn.Module or "name" in kwargs else ""
        if args and isinstance(args[0], str) and not _takes_arguments(type(self)):
            state["_pyro_name"], args = args[0], args[1:]
        state["_pyro_context"], state["_pyro_params"], state["_pyro_samples"] = Context(), OrderedDict(), OrderedDict()
        super().__init__(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._pyro_context:
            return super().__call__(*args, **kwargs)

    def _pyro_get_fullname(self, name: str) -> str:
        own = self.__dict__["_pyro_name"]
        return f"{own}.{name}" if own else name

    def _adopt(self, name: str, child: Any) -> None:
        """Make a module part of this one: its names begin with its path, and it shares the call's values."""
        if isinstance(child, PyroModule):
            child._place(self._pyro_get_fullname(name), self._pyro_context)
        elif isinstance(child, nn.Module):
            for inner, grandchild in child.named_children():
                self._adopt(f"{name}.{inner}", grandchild)

    def _place(self, name: str, context: Context) -> None:
        self.__dict__["_pyro_name"], self.__dict__["_pyro_context"] = name, context
        for inner, child in self.named_children():
            self._adopt(inner, child)

    # Attributes.

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        if "_pyro_params" not in state:
            return super().__getattr__(name)
        if name in state["_pyro_params"]:
            full = self._pyro_get_fullname(name)
            constraint, event_dim = state["_pyro_params"][name]
            leaf = state["_parameters"][f"{name}_unconstrained"]
            if not self._pyro_context.active and full not in STORE:
                return _value(leaf, constraint)
            return self._pyro_context.get(full, lambda: self._read(full, leaf, constraint, event_dim))
        if name in state["_pyro_samples"]:
            prior = state["_pyro_samples"][name].prior
            full = self._pyro_get_fullname(name)
            return self._pyro_context.get(full, lambda: _draw(self, full, prior))
        found = super().__getattr__(name)
        if isinstance(found, nn.Parameter) and self._pyro_context.active and not name.endswith("_unconstrained"):
            full = self._pyro_get_fullname(name)
            return self._pyro_context.get(full, lambda: self._read_own(full, found))
        return found

    def _read(self, full: str, leaf: nn.Parameter, constraint: Any, event_dim: Any) -> Any:
        if full not in STORE:
            STORE.place(full, leaf, constraint)
        elif STORE.leaves[full] is not leaf and STORE.leaves[full].shape == leaf.shape:
            with torch.no_grad():
                leaf.copy_(STORE.leaves[full])
            STORE.place(full, leaf, constraint)
        return param(full, None, constraint, event_dim)

    def _read_own(self, full: str, parameter: nn.Parameter) -> Any:
        if not parameter.requires_grad:
            return parameter
        kept = STORE.leaves.get(full)
        if kept is not None and kept is not parameter and kept.shape == parameter.shape and not isinstance(kept, nn.Parameter):
            with torch.no_grad():
                parameter.copy_(kept)
            kept = None
        out = perform(Param(name=full, initial=parameter, owner=self, plates=()))
        if isinstance(out, Param) and STORE.leaves.get(full) is not parameter:
            STORE.place(full, parameter)
        return out.value

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, PyroParam):
            self._forget(name)
            start = value.init_value() if callable(value.init_value) else value.init_value
            full = self._pyro_get_fullname(name)
            leaf = nn.Parameter(_leaf(full, torch.as_tensor(start), value.constraint))
            self.__dict__["_pyro_params"][name] = (value.constraint, value.event_dim)
            super().__setattr__(f"{name}_unconstrained", leaf)
            return
        if isinstance(value, PyroSample):
            self._forget(name)
            self.__dict__["_pyro_samples"][name] = value
            return
        if isinstance(value, nn.Module):
            self._forget(name)
            super().__setattr__(name, value)
            self._adopt(name, value)
            return
        if name in self.__dict__.get("_pyro_params", ()) and isinstance(value, Tensor):
            constraint, _ = self.__dict__["_pyro_params"][name]
            with torch.no_grad():
                self.__dict__["_parameters"][f"{name}_unconstrained"].copy_(_leaf(name, value, constraint))
            return
        if isinstance(value, nn.Parameter):
            self._forget(name)
        super().__setattr__(name, value)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a part, as containers do."""
        super().add_module(name, module)
        if module is not None and "_pyro_context" in self.__dict__:
            self._adopt(name, module)

    def __delattr__(self, name: str) -> None:
        if name in self.__dict__["_pyro_params"] or name in self.__dict__["_pyro_samples"]:
            self._forget(name)
        else:
            super().__delattr__(name)

    def _forget(self, name: str) -> None:
        state = self.__dict__
        if "_pyro_params" not in state:
            return
        if state["_pyro_params"].pop(name, None) is not None:
            state["_parameters"].pop(f"{name}_unconstrained", None)
        state["_pyro_samples"].pop(name, None)
        for kept in ("_parameters", "_buffers", "_modules"):
            state.get(kept, {}).pop(name, None)
        state.pop(name, None)

    def named_pyro_params(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Any]]:
        """The `PyroParam` of this module and of its parts, with their values."""
        for path, part in self.named_modules(prefix=prefix) if recurse else [(prefix, self)]:
            if isinstance(part, PyroModule):
                for name in part.__dict__["_pyro_params"]:
                    yield f"{path}.{name}" if path else name, getattr(part, name)


def _takes_arguments(cls: type) -> bool:
    """Whether the class after `PyroModule` takes arguments of its own."""
    order = cls.__mro__
    return order[order.index(PyroModule) + 1] is not nn.Module


def _leaf(name: str, value: Tensor, constraint: Any) -> Tensor:
    """The unconstrained coordinates of a value."""
    store = su.ParamStore()
    with store:
        su.param(name, value.detach(), constraint=constraint)
    return store.unconstrained[name].detach()


def _value(leaf: Tensor, constraint: Any) -> Tensor:
    store = su.ParamStore()
    store.sites["x"] = Param(name="x", initial=leaf.detach(), constraint=constraint)
    store.unconstrained["x"] = leaf
    return store["x"]


def _draw(module: PyroModule, name: str, prior: Any) -> Any:
    if not isinstance(prior, Distribution):
        with module._pyro_context:
            prior = prior(module)
    return sample(name, prior) if isinstance(prior, Distribution) else prior


class PyroModuleList(PyroModule, nn.ModuleList):
    """`torch.nn.ModuleList` of `PyroModule`."""


def pyro_method(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a `PyroModule` that is called like `forward`: each of its random variables is drawn once in a call."""

    @functools.wraps(fn)
    def cached(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._pyro_context:
            return fn(self, *args, **kwargs)

    return cached


def clear(mod: PyroModule) -> None:
    """Forget the parameters of a module in the store."""
    for name in [n for n in STORE if n.startswith(mod.__dict__["_pyro_name"])]:
        if any(STORE.leaves[name] is leaf for leaf in mod.parameters()):
            del STORE[name]


def to_pyro_module_(m: nn.Module, recurse: bool = True) -> None:
    """Make a network, and all of its parts, a `PyroModule` in place.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 1))
        >>> to_pyro_module_(net)
        >>> isinstance(net[0], PyroModule)
        True
    """
    if not isinstance(m, PyroModule):
        kept = m.__dict__.pop("_flat_weights", None) if isinstance(m, nn.RNNBase) else None
        m.__class__ = PyroModule[type(m)]
        state = m.__dict__
        state["_pyro_name"], state["_pyro_context"] = "", Context()
        state["_pyro_params"], state["_pyro_samples"] = OrderedDict(), OrderedDict()
        del kept
    if recurse:
        for child in m.children():
            to_pyro_module_(child, recurse=True)
    m._place(m.__dict__["_pyro_name"], m.__dict__["_pyro_context"])  # type: ignore[operator]
