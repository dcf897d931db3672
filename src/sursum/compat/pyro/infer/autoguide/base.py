"""What Pyro's automatic guides have in common: modules whose parameters are in the global store, under Pyro's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import sursum as su
from sursum.compat.pyro.infer.autoguide.initialization import by_default
from sursum.compat.pyro.running import as_program
from sursum.compat.pyro.store import STORE
from sursum.errors import GuideError


class AutoGuide(nn.Module):
    """The base of the guides here: called like the model, it draws every latent site.

    Args:
        model: the program.
        create_plates: has no use: plates are the model's own.
    """

    kind: ClassVar[Any] = None

    def __init__(self, model: Callable[..., Any], *, create_plates: Any = None, **settings: Any) -> None:
        super().__init__()
        if not callable(model):
            raise GuideError(f"`model` is {model!r}, but must be a program: a callable.")
        # Not an attribute of the module, of which the model's networks would become a part.
        self.__dict__["model"] = model
        if self.kind is None:
            raise GuideError(f"{type(self).__name__} is a base class: write AutoNormal(model), say.")
        self.__dict__["sursum"] = self.kind(as_program(self._shown(model)), prefix=type(self).__name__, **settings)

    def _shown(self, model: Callable[..., Any]) -> Callable[..., Any]:
        """The model without the sites that it did not have at first: data that are to be predicted are not the guide's."""

        def later(site: Any) -> bool:
            places = self.sursum.places
            latent = isinstance(site, su.handlers.Sample) and not site.is_observed and not site.infer.get("is_subsample")
            return bool(places) and latent and site.name not in places

        return su.block(model, hide_fn=later)

    model: Callable[..., Any]
    sursum: Any

    @property
    def prefix(self) -> str:
        return str(self.sursum.prefix)

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Draw every latent site; the values by name."""
        if not args and not kwargs:
            args, kwargs = self.__dict__.get("_first", ((), {}))
        drawn: dict[str, Tensor] = self.sursum(*args, **kwargs)
        self.__dict__.setdefault("_first", (args, kwargs))
        return drawn

    def call(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        """Draw every latent site; the values in the order of their names."""
        return tuple(value for _, value in sorted(self(*args, **kwargs).items()))

    def named_parameters(  # type: ignore[override]
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The guide's leaves in the store; none before its first call."""
        begin = f"{self.prefix}."
        for name, leaf in list(STORE.leaves.items()):
            if name.startswith(begin):
                yield f"{prefix}{'.' if prefix else ''}{name.removeprefix(begin)}", leaf

    def _set_up(self, args: Any, kwargs: Any) -> None:
        if not self.sursum.places:
            self.sursum.set_up(args, kwargs)

    def median(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The median of every latent site, by name."""
        self._set_up(args, kwargs)
        found: dict[str, Tensor] = self.sursum.median(su.ParamStore())
        return found

    def quantiles(self, quantiles: Any, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Marginal quantiles of every latent site, (quantiles, *shape), by name."""
        self._set_up(args, kwargs)
        levels = [float(quantiles)] if isinstance(quantiles, float) else list(map(float, quantiles))
        found: dict[str, Tensor] = self.sursum.quantiles(su.ParamStore(), levels)
        return found

    def sample_posterior(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """One draw of every latent site."""
        with torch.no_grad(), su.block():
            return self.forward(*args, **kwargs)


class Started(AutoGuide):
    """A guide that starts at a value of every site."""

    def __init__(
        self,
        model: Callable[..., Any],
        init_loc_fn: Callable[[Any], Any] = by_default,
        *,
        create_plates: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(model, create_plates=create_plates, init_loc_fn=init_loc_fn, **settings)
