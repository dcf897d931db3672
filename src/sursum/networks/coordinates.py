"""The latent sites of a program as one vector, for methods that move through weights of networks and all else at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sursum.density.unconstrain import is_identity
from sursum.optimise.torch_loop import Ascent


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Where each latent site lies in the vector, and the maps between unconstrained coordinates and values.

    Attributes:
        leaves: where the sites start, unconstrained, by name, in the order of the vector.
        ascent: the run that made them, which has the bijections.
    """

    leaves: Mapping[str, Tensor]
    ascent: Ascent

    @property
    def dim(self) -> int:
        return sum(leaf.numel() for leaf in self.leaves.values())

    def vector(self, values: Mapping[str, Tensor] | None = None) -> Tensor:
        """The coordinates by site, or those of the start, as one vector of the widest dtype of the sites."""
        return torch.cat([leaf.reshape(-1) for leaf in (self.leaves if values is None else values).values()])

    def views(self, q: Tensor) -> dict[str, Tensor]:
        """The sites' coordinates at a point, (n,), or at several, (chain, n): (*shape) or (chain, *shape).

        They share memory with it where they have its dtype, unless there are several.
        """
        return {name: part.to(self.leaves[name].dtype) for name, part in self._parts(q).items()}

    def sites(self, draws: Tensor) -> dict[str, Tensor]:
        """The sites, constrained, in float64, at points (…, n): (…, *shape)."""
        found = {}
        for name, part in self._parts(draws.reshape(-1, draws.shape[-1])).items():
            value = part
            if not all(is_identity(onto) for onto in self.ascent.ontos[name].values()):
                with torch.no_grad():
                    value = torch.stack([self.ascent.value(name, free) for free in part.to(self.leaves[name].dtype)])
            found[name] = value.double().reshape(*draws.shape[:-1], *value.shape[1:])
        return found

    def inv(self, values: Mapping[str, Tensor]) -> Tensor:
        """The vector at constrained values of the sites: the inverse of `sites` for one point."""
        parts = []
        for name in self.leaves:
            ontos = self.ascent.ontos[name]
            free = [onto.inv(values[name][at].detach()) for at, onto in ontos.items()]
            parts.append((torch.stack(free) if next(iter(ontos)) else free[0]).reshape(-1))
        return torch.cat(parts)

    def _parts(self, q: Tensor) -> dict[str, Tensor]:
        """The sites' coordinates in the dtype of the vector."""
        parts = q.split([leaf.numel() for leaf in self.leaves.values()], -1)
        return {
            name: part.reshape((*q.shape[:-1], *leaf.shape))
            for (name, leaf), part in zip(self.leaves.items(), parts, strict=True)
        }
