"""`GivenDraws`: the draws at which a program is run, in one row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from sursum.common.patterns import suggestion
from sursum.common.user_frame import warn
from sursum.errors import PredictionError, UnusedSiteWarning
from sursum.io.lazy_draws import LazyRows, StoredArray, StoredSites
from sursum.predict.vectorise import Sliceable


@runtime_checkable
class Sampled(Protocol):
    """What is needed of a `Posterior` here: draws of (chain, draw, *shape), and the names of the latent sites.

    Its `buffers`, if it has any, are draws of buffers of networks.
    """

    @property
    def latents(self) -> tuple[str, ...]: ...

    def __getitem__(self, name: str, /) -> Tensor: ...

    def __iter__(self) -> Any: ...


@dataclass(frozen=True)
class GivenDraws:
    """Draws with their leading dimensions flattened into one: `values`, each (count, *shape)."""

    values: Mapping[str, Sliceable]
    shape: torch.Size
    buffers: frozenset[str] = frozenset()  # the names among them that are buffers of networks

    @property
    def count(self) -> int:
        return self.shape.numel()

    @classmethod
    def of(cls, samples: Any, batch_ndims: int | None) -> GivenDraws:
        """The draws of a posterior's latent sites, or of everything in a mapping.

        Raises:
            PredictionError: no draws, or sites with different numbers of them.
        """
        if isinstance(samples, Sampled):
            names, leading = samples.latents or tuple(samples), 2
        elif isinstance(samples, Mapping):
            names, leading = tuple(samples), 1
        else:
            raise PredictionError(
                f"the posterior samples are a {type(samples).__name__}. Give a Posterior, or a mapping from names of sites "
                "to tensors whose leading dimension counts the draws."
            )
        leading = leading if batch_ndims is None else batch_ndims
        sites = getattr(samples, "sites", None)
        stored = sites.arrays if isinstance(sites, StoredSites) and not sites.flat and leading == 2 else {}
        values = {name: stored[name] if name in stored else torch.as_tensor(samples[name]) for name in names}
        if not values:
            raise PredictionError("the posterior samples are empty. Leave them out to predict from the prior.")
        shape = torch.Size(next(iter(values.values())).shape[:leading])
        for name, value in values.items():
            if len(value.shape) < leading or value.shape[:leading] != shape:
                raise PredictionError(
                    f"the posterior samples of site {name!r} have shape {tuple(value.shape)}, but the first "
                    f"{leading} dimensions of {next(iter(values))!r}, which count the draws, are {tuple(shape)}. "
                    "Give every site the same draws; `batch_ndims` is the number of leading dimensions that count them."
                )
        if not shape.numel():
            raise PredictionError(f"there are no draws: the first {leading} dimensions of the samples are {tuple(shape)}.")
        buffers: Mapping[str, Tensor] = getattr(samples, "buffers", {}) if isinstance(samples, Sampled) else {}
        values |= {name: torch.as_tensor(value) for name, value in buffers.items()}
        flat = {n: LazyRows(v) if isinstance(v, StoredArray) else v.flatten(0, leading - 1) for n, v in values.items()}
        return cls(flat, shape, frozenset(buffers))

    def announce_unused(self, met: Iterable[str]) -> None:
        """Warn about draws of sites that the program does not have: its other sites were drawn without them."""
        met = list(met)
        for name in self.values:
            if name not in met and name not in self.buffers:
                warn(
                    f"the draws of {name!r} were not used: the program reached no site of that name.{suggestion(name, met)}",
                    UnusedSiteWarning,
                )


def two_dimensions(shape: torch.Size) -> tuple[int, int]:
    """The number of chains, and of draws per chain, for draws with these leading dimensions."""
    return (1, shape[0]) if len(shape) == 1 else (shape[:-1].numel(), shape[-1])
