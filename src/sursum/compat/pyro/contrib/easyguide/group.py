"""`Group`: sites of a model that a guide draws together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from sursum.compat.pyro.distributions import Delta
from sursum.compat.pyro.primitives import sample
from sursum.errors import GuideError


class Group:
    """Latent sites of a model, drawn together by `sample` or each put at a point by `map_estimate`.

    A plate that all of them are in is one of the group, which is then independent for its elements; what other dimensions the
    sites have are coordinates of the group.

    Args:
        guide: the `EasyGuide` whose group it is.
        sites: nodes of the model's trace, at least one.

    Raises:
        GuideError: a discrete site; a subsampled plate that only some of the sites are in.
    """

    def __init__(self, guide: Any, sites: Sequence[Any]) -> None:
        self.guide, self.prototype_sites = guide, list(sites)
        self.common_frames = [
            frame for frame in sites[0]["cond_indep_stack"] if all(frame in site["cond_indep_stack"] for site in sites)
        ]
        self._onto = {site["name"]: guide.onto(site) for site in sites}
        self._own = {site["name"]: self._own_shape(site) for site in sites}
        self._free = {name: self._free_shape(site) for name, site in zip(self._own, sites, strict=True)}

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one draw of the group: a vector of the unconstrained coordinates of all sites."""
        return torch.Size([sum(self._size(name) for name in self._own)])

    def _size(self, name: str) -> int:
        return math.prod(self._own[name]) * math.prod(self._free[name])

    def _own_shape(self, site: Any) -> torch.Size:
        """The batch shape of a site without the plates that are the group's."""
        common = {frame.dim for frame in self.common_frames}
        for frame in site["cond_indep_stack"]:
            if frame.dim not in common and frame.full_size != frame.size:
                raise GuideError(
                    f"site {site['name']!r} is in the subsampled plate {frame.name!r}, in which not all sites of the group "
                    f"{', '.join(repr(one['name']) for one in self.prototype_sites)} are. Draw it in a group of its own."
                )
        batch = site["fn"].batch_shape
        own = [1 if at - len(batch) in common else size for at, size in enumerate(batch)]
        while own and own[0] == 1:
            del own[0]
        return torch.Size(own)

    def _free_shape(self, site: Any) -> torch.Size:
        """The shape of the unconstrained coordinates of one value of a site."""
        fn = site["fn"]
        whole = self._onto[site["name"]].inverse_shape(fn.batch_shape + fn.event_shape)
        return torch.Size(whole[len(fn.batch_shape) :])

    def sample(self, guide_name: str, fn: Any, infer: Mapping[str, Any] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Draw all sites by one distribution of their unconstrained coordinates.

        Args:
            guide_name: of the auxiliary site that has the coordinates.
            fn: a distribution over vectors of the group's `event_shape`; its batch shape is that of the group's plates.
            infer: settings of the auxiliary site.

        Returns:
            The coordinates, (*plates, *event_shape), and the values of the sites by name.

        Raises:
            GuideError: `fn` has another event shape, or a batch dimension that a site has in a plate of its own.
        """
        if fn.event_shape != self.event_shape:
            raise GuideError(
                f"{guide_name!r} is drawn by a distribution of event shape {tuple(fn.event_shape)}, but the group of "
                f"{', '.join(map(repr, self._own))} has {tuple(self.event_shape)}: declare one dimension with .to_event(1)."
            )
        drawn = sample(guide_name, fn, infer={**(infer or {}), "is_auxiliary": True})
        values, at = {}, 0
        for site in self.prototype_sites:
            name = site["name"]
            part = drawn[..., at : at + self._size(name)]
            at += self._size(name)
            values[name] = self._place(site, self._unpack(name, guide_name, part))
        return drawn, values

    def _unpack(self, name: str, guide_name: str, part: Tensor) -> Tensor:
        """The coordinates of one site, (*plates, coordinates), with the site's batch dimensions each in its place."""
        own, free = self._own[name], self._free[name]
        width = max(len(own), part.dim() - 1)
        common = (1,) * (width - part.dim() + 1) + part.shape[:-1]
        own = torch.Size((1,) * (width - len(own)) + own)
        if any(one != 1 and other != 1 for one, other in zip(common, own, strict=True)):
            raise GuideError(
                f"{guide_name!r} is drawn with batch shape {tuple(part.shape[:-1])}, but site {name!r} has dimensions of its "
                f"own there, {tuple(own)}, whose elements are coordinates of the group. Draw it in the plates that all its "
                "sites are in."
            )
        # Each of the dimensions is one or the other's.
        order = [*chain.from_iterable((k, width + k) for k in range(width)), *range(2 * width, 2 * width + len(free))]
        both = [one * other for one, other in zip(common, own, strict=True)]
        return part.reshape((*common, *own, *free)).permute(order).reshape((*both, *free))

    def _place(self, site: Any, free: Tensor) -> Tensor:
        """Draw a site of the model at its coordinates, with the density that the bijection gives."""
        onto, name = self._onto[site["name"]], site["name"]
        events = len(site["fn"].event_shape)
        value = onto(free)
        density = -onto.log_abs_det_jacobian(free, value)
        while density.dim() > value.dim() - events:
            density = density.sum(-1)
        with self.guide.open(site["cond_indep_stack"]):
            return sample(name, Delta(value, log_density=density, event_dim=events))

    def map_estimate(self) -> dict[str, Tensor]:
        """Put each site at a point, as `EasyGuide.map_estimate`; the values by name."""
        return {name: self.guide.map_estimate(name) for name in self._own}
