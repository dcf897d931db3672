"""`ParamStore`: parameters by name, owned by their optimiser."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Any, Self

import torch
from torch import Tensor

from sursum.common.reprs import shapes_text
from sursum.common.torch_private import DisableTorchFunction
from sursum.core.messages import Param, Site
from sursum.core.runtime import Messenger, P, R, handler, perform
from sursum.distributions.bijections import bijection
from sursum.errors import SiteError


@handler
class ParamStore(Messenger[P, R]):
    """Keep an unconstrained leaf for every parameter that a program reads, starting at the program's own value.

    There is no global store: run a program inside one, ``with store:``, and give ``store.leaves()`` to an optimiser.

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

    double: bool = field(default=False, kw_only=True)

    unconstrained: dict[str, Tensor] = field(init=False, repr=False, default_factory=dict)
    sites: dict[str, Param] = field(init=False, repr=False, default_factory=dict)

    def __repr__(self) -> str:
        return f"<ParamStore: {shapes_text({name: self[name] for name in self}, 'empty')}>"

    def fresh(self) -> Self:
        """A copy that shares the leaves: the store outlives the executions inside it."""
        copy = super().fresh()
        copy.unconstrained, copy.sites = self.unconstrained, self.sites
        return copy

    def around(self, fn: Callable[..., Any]) -> Self:
        bound = super().around(fn)
        bound.unconstrained, bound.sites = self.unconstrained, self.sites
        return bound

    def handle(self, site: Site) -> Any:
        if isinstance(site, Param) and site.value is None:
            known = self.sites.get(site.name)
            if known is not None and known.owner is not site.owner:
                raise SiteError(
                    f"parameter {site} belongs to a different network than the one of that name in the store "
                    f"({known.where}). Give the two modules different names, or use another store."
                )
            if known is None and site.initial is not None:
                self._adopt(site)
            if site.name in self:
                site = site.but(value=self[site.name])
        return perform(site)

    def _adopt(self, site: Param) -> None:
        with DisableTorchFunction():  # densities detect reads of a network's own parameters: the store may read them
            value = site.run().value.detach()
        with torch.no_grad():
            leaf = bijection(site.constraint).inv(value.double() if self.double else value)
        if not torch.isfinite(leaf).all():
            raise SiteError(
                f"parameter {site} starts at {value.tolist()}, on the boundary of {site.constraint!r}. "
                "Start inside the constraint."
            )
        # The first thread wins; the site is stored first, since a leaf is read through it.
        self.sites.setdefault(site.name, site.but(initial=value, generator=None))
        self.unconstrained.setdefault(site.name, leaf.clone().requires_grad_(not site.frozen))

    def leaves(self) -> list[Tensor]:
        """The unconstrained tensors to optimise."""
        return [leaf for leaf in self.unconstrained.values() if leaf.requires_grad]

    def recall(self, name: str) -> Tensor | None:
        return self[name] if name in self.unconstrained else None

    def __contains__(self, name: object) -> bool:
        return name in self.unconstrained

    def __getitem__(self, name: str) -> Tensor:
        site = self.sites.get(name)
        if site is None:
            close = difflib.get_close_matches(str(name), self.sites, n=8, cutoff=0.4) or list(self.sites)[:8]
            raise KeyError(f"no parameter {name!r} in this store; there are {', '.join(map(repr, close)) or 'none yet'}")
        value: Tensor = bijection(site.constraint)(self.unconstrained[name])
        return value.to(site.initial.dtype) if isinstance(site.initial, Tensor) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self.unconstrained)

    def __len__(self) -> int:
        return len(self.unconstrained)

    def __bool__(self) -> bool:
        """True, even if the store is empty."""
        return True
