"""`ParamStore`: parameters by name, owned by their optimiser."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from dataclasses import field
from typing import Any, Self

import torch
from torch import Tensor

from sursum.common.reprs import shapes_text
from sursum.common.torch_private import DisableTorchFunction
from sursum.core.messages import Param, Site
from sursum.core.runtime import Messenger, P, R, handler, perform
from sursum.distributions.bijections import bijection
from sursum.errors import SiteError, StorageError
from sursum.io import npz
from sursum.io.files import interpreting

_KIND = "sursum parameters"
_VERSION = 1


@handler
class ParamStore(Messenger[P, R]):
    """Keep an unconstrained leaf for every parameter that a program reads, starting at the program's own value.

    There is no global store: run a program inside one, ``with store:``, and give ``store.leaves()`` to an optimiser. Its
    `buffers`, by dotted name, are what layers in training mode have written in a run of `Fit` or `SVI`, such as running
    averages; networks have them inside the store.

    Args:
        double: keep the leaves in float64 for any dtype of the parameters; the program still reads values in its own dtype.

    Example:
        >>> import sursum as su, torch
        >>> from sursum.distributions import constraints
        >>> store = su.ParamStore()
        >>> with store:
        ...     s = su.param("s", torch.tensor(2.0), constraint=constraints.positive)
        >>> float(s.detach()), list(store)
        (2.0, ['s'])
    """

    keeps_buffers = False

    double: bool = field(default=False, kw_only=True)

    buffers: dict[str, Tensor] = field(init=False, repr=False, default_factory=dict)
    unconstrained: dict[str, Tensor] = field(init=False, repr=False, default_factory=dict)
    sites: dict[str, Param] = field(init=False, repr=False, default_factory=dict)
    waiting: dict[str, tuple[Tensor, Tensor]] = field(init=False, repr=False, default_factory=dict)  # loaded, and not yet read

    def __repr__(self) -> str:
        return f"<ParamStore: {shapes_text({name: self[name] for name in self}, 'empty')}>"

    def fresh(self) -> Self:
        """A copy that shares the leaves: the store outlives the executions inside it."""
        copy = super().fresh()
        self._share(copy)
        return copy

    def around(self, fn: Callable[..., Any]) -> Self:
        bound = super().around(fn)
        self._share(bound)
        return bound

    def _share(self, other: ParamStore) -> None:
        other.unconstrained, other.sites, other.waiting = self.unconstrained, self.sites, self.waiting
        other.buffers = self.buffers

    def buffer(self, name: str, own: Tensor, writes: bool) -> Tensor | None:
        value = self.buffers.get(name)
        return value.clone() if value is not None and writes else value

    def handle(self, site: Site) -> Any:
        if isinstance(site, Param) and site.value is None:
            known = self.sites.get(site.name)
            if known is not None and known.owner is not site.owner:
                raise SiteError(
                    f"parameter {site} belongs to a different network than the one of that name in the store "
                    f"({known.where}). Give the two modules different names, or use another store."
                )
            if known is None and (site.initial is not None or site.name in self.waiting):
                self._adopt(site)
            if site.name in self:
                site = site.but(value=self[site.name])
        return perform(site)

    def _adopt(self, site: Param) -> None:
        free, loaded = self.waiting.get(site.name, (None, None))
        with DisableTorchFunction():  # densities detect reads of a network's own parameters: the store may read them
            value = site.run().value.detach() if loaded is None or site.initial is not None else loaded
        with torch.no_grad():
            leaf = bijection(site.constraint).inv(value.double() if self.double else value)
        if free is not None:
            if free.shape != leaf.shape:
                raise SiteError(
                    f"parameter {site} has shape {tuple(value.shape)}, and a different one in the file that was loaded. Load a "
                    "file that was saved for this program."
                )
            leaf = free.to(dtype=leaf.dtype, device=leaf.device)
        if not torch.isfinite(leaf).all():
            raise SiteError(
                f"parameter {site} starts at {value.tolist()}, on the boundary of {site.constraint!r}. "
                "Start inside the constraint."
            )
        # The first thread wins; the site is stored first, since a leaf is read through it.
        self.sites.setdefault(site.name, site.but(initial=value, generator=None))
        self.unconstrained.setdefault(site.name, leaf.clone().requires_grad_(not site.frozen))

    def items(self) -> ItemsView[str, Tensor]:
        """The current values by name, as pairs."""
        return {name: self[name] for name in self}.items()

    def keys(self) -> KeysView[str]:
        """The names of all parameters."""
        return dict.fromkeys(self).keys()

    def values(self) -> ValuesView[Tensor]:
        """The current values, in the order of the names."""
        return {name: self[name] for name in self}.values()

    def state_dict(self) -> dict[str, Tensor]:
        """The current values by name, without a gradient: ``net.load_state_dict(…)`` takes those of a network.

        Example:
            >>> import sursum as su, torch
            >>> store, net = su.ParamStore(), torch.nn.Linear(2, 1)
            >>> with store:
            ...     _ = su.module("net", net)
            >>> trained = {name.removeprefix("net."): value for name, value in store.state_dict().items()}
            >>> net.load_state_dict(trained)
            <All keys matched successfully>
        """
        return {name: self[name].detach().clone() for name in self}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the values of all parameters, and the buffers, to one file (NumPy's `.npz`, no pickles), all or nothing.

        Raises:
            StorageError: the file system reports an error, or the suffix is that of another format.
        """
        npz.check_suffix(path, {})
        tensors = {f"value/{name}": value for name, value in self.state_dict().items()}
        tensors |= {f"free/{name}": leaf for name, leaf in self._free().items()}
        tensors |= {f"buffer/{name}": value for name, value in self.buffers.items()}
        dtypes = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}
        npz.write(path, _KIND, _VERSION, {"dtypes": dtypes}, {name: npz.as_array(tensor) for name, tensor in tensors.items()})

    def _free(self) -> dict[str, Tensor]:
        waiting = {name: free for name, (free, _) in self.waiting.items() if name not in self.unconstrained}
        return {name: leaf.detach() for name, leaf in self.unconstrained.items()} | waiting

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take the values from a file that `save` wrote, bit for bit. Nothing in it is executed.

        A parameter that the store does not know yet starts at the value in the file when the program reads it, in the program's
        constraint; leaves that an optimiser has are written into.

        Raises:
            StorageError: the file is damaged or of a different kind; a parameter has another shape.

        Example:
            >>> import sursum as su, tempfile, torch
            >>> path = tempfile.mkdtemp() + "/params.npz"
            >>> store = su.ParamStore()
            >>> with store:
            ...     _ = su.param("s", torch.tensor(2.0))
            >>> store.save(path)
            >>> again = su.ParamStore()
            >>> again.load(path)
            >>> with again:
            ...     su.param("s", torch.tensor(7.0)).detach()
            tensor(2.)
        """
        note, arrays = npz.read(path, _KIND, _VERSION)
        with interpreting(path, "parameters written by `save`"):
            every = {name: npz.as_tensor(array, note["dtypes"][name]) for name, array in arrays.items()}
            names = [name.removeprefix("free/") for name in every if name.startswith("free/")]
            found = {name: (every[f"free/{name}"], every[f"value/{name}"]) for name in names}
            buffers = {name.removeprefix("buffer/"): value for name, value in every.items() if name.startswith("buffer/")}
        for name, (free, value) in found.items():
            leaf = self.unconstrained.get(name)
            if leaf is not None and leaf.shape != free.shape:
                raise StorageError(
                    f"{os.fspath(path)!r} has parameter {name!r} with shape {tuple(value.shape)}, and this store one with "
                    f"{tuple(self[name].shape)}. Load the file into a store of the same program."
                )
        with torch.no_grad():
            for name, (free, value) in found.items():
                if name in self.unconstrained:
                    self.unconstrained[name].copy_(free)
                else:
                    self.waiting[name] = free, value
        self.buffers.update(buffers)

    def leaves(self) -> list[Tensor]:
        """The unconstrained tensors to optimise."""
        return [leaf for leaf in self.unconstrained.values() if leaf.requires_grad]

    def recall(self, name: str) -> Tensor | None:
        known = name in self.unconstrained or name in self.waiting
        return self[name] if known else None

    def __contains__(self, name: object) -> bool:
        return name in self.unconstrained or name in self.waiting

    def __getitem__(self, name: str) -> Tensor:
        site = self.sites.get(name)
        if site is None and name in self.waiting:
            return self.waiting[name][1]
        if site is None:
            close = difflib.get_close_matches(str(name), self.sites, n=8, cutoff=0.4) or list(self.sites)[:8]
            raise KeyError(f"no parameter {name!r} in this store; there are {', '.join(map(repr, close)) or 'none yet'}")
        value: Tensor = bijection(site.constraint)(self.unconstrained[name])
        return value.to(site.initial.dtype) if isinstance(site.initial, Tensor) else value

    def __iter__(self) -> Iterator[str]:
        return iter([*self.unconstrained, *(name for name in self.waiting if name not in self.unconstrained)])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __bool__(self) -> bool:
        """True, even if the store is empty."""
        return True
