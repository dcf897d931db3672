"""Sites as Pyro's messages: dictionaries with Pyro's keys, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum.compat.pyro.distributions import Delta, Unit
from sursum.handlers import Deterministic, Factor, Frame, Param, Sample, Site


@dataclass(frozen=True)
class CondIndepStackFrame:
    """An open plate in a message."""

    name: str
    dim: int | None
    size: int
    counter: int = 0
    full_size: int | None = None

    @property
    def vectorized(self) -> bool:
        return self.dim is not None


class Subsample(torch.distributions.Distribution):
    """The distribution of the indices of a plate: they are not scored."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, indices: Tensor) -> None:
        self.indices = indices
        super().__init__(torch.Size(), indices.shape, validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.indices.expand(torch.Size(sample_shape) + self.indices.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.zeros(value.shape[:-1])


class Node(dict[str, Any]):
    """A message with Pyro's keys; `site` is sursum's, which it was made from."""

    site: Site | None = None


def node_of(site: Site) -> Node:
    """A site as a message. A factor is a sample site of a `Unit`, a deterministic site one of a masked `Delta`."""
    made = Node(
        type="sample",
        name=site.name,
        value=site.value,
        is_observed=False,
        scale=site["scale"],
        mask=site["mask"],
        infer=dict(site["infer"]),
        args=(),
        kwargs={},
        cond_indep_stack=tuple(
            CondIndepStackFrame(frame.name, frame.dim, frame.length, 0, frame.size) for frame in reversed(plates_of(site))
        ),
        intermediates=(),
        continuation=None,
        done=site.value is not None,
        stop=False,
    )
    if isinstance(site, Sample):
        made |= {"fn": site.fn, "is_observed": site.is_observed}
    elif isinstance(site, Factor):
        made |= {"fn": Unit(site.value), "is_observed": True, "value": site.value.new_empty((*site.value.shape, 0))}
    elif isinstance(site, Deterministic):
        value = torch.as_tensor(site.value)
        events = site.event_dim if site.event_dim is not None else value.dim()
        point = Delta(value, event_dim=events, validate_args=False).mask(False)
        made |= {"fn": point, "is_observed": True, "value": value, "infer": {"_deterministic": True}}
    elif isinstance(site, Param):
        made |= {"type": "param", "fn": None, "args": (site.initial, site.constraint, site.event_dim)}
        made["kwargs"] = {"constraint": site.constraint, "event_dim": site.event_dim}
    else:
        made |= {"type": site["type"], "fn": getattr(site, "fn", None), "args": getattr(site, "args", ())}
        made["kwargs"] = getattr(site, "kwargs", {})
    made.site = site
    return made


def plates_of(site: Site) -> tuple[Frame, ...]:
    """The plates of a site, without the steps of loops."""
    return tuple(frame for frame in site.plates if type(frame) is Frame)


def node_of_plate(frame: Frame) -> Node:
    """An open plate as a message: the indices of what is present."""
    indices = torch.arange(frame.size) if frame.indices is None else frame.indices
    return node_of(Sample(name=frame.name, fn=Subsample(indices), value=indices, infer={"is_subsample": True}))


def site_of(node: Mapping[str, Any], site: Site) -> Site:
    """`site` with what a message says now, where the message was changed."""
    before = node_of(site)
    changed = {key: node[key] for key in ("name", "value", "fn", "is_observed", "scale", "mask", "infer") if key in node}
    changed = {key: value for key, value in changed.items() if value is not before.get(key) and not _same(value, before[key])}
    if not changed:
        return site
    if isinstance(site, Sample):
        if "fn" in changed:
            changed["fn"] = in_plates(changed["fn"], site.plates)
        return site.but(**changed)
    if isinstance(site, Factor):
        kept: dict[str, Any] = {key: changed[key] for key in ("name", "scale", "mask") if key in changed}
        if isinstance(node["fn"], Unit) and "fn" in changed:
            kept["value"] = node["fn"].log_factor
        return site.but(**kept)
    return site.but(**{key: changed[key] for key in ("name", "value") if key in changed})


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, (Tensor, Distribution)) or isinstance(other, (Tensor, Distribution)):
        return False
    return bool(one == other)


def in_plates(fn: Any, plates: tuple[Frame, ...]) -> Any:
    """A distribution expanded to the sizes of plates."""
    if not isinstance(fn, Distribution):
        return fn
    sizes = {frame.dim: frame.length for frame in plates if frame.dim is not None}
    wanted = torch.Size(sizes.get(dim, 1) for dim in range(min(sizes, default=0), 0))
    batch = torch.broadcast_shapes(fn.batch_shape, wanted)
    return fn if batch == fn.batch_shape else fn.expand(batch)
