"""A network and data that are not of one dtype or not on one device, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from sursum.errors import SiteError
from sursum.messages import Param
from sursum.torch_private import tree_leaves
from sursum.trace import Trace

_TORCH_SAYS = re.compile(r"dtype|scalar type|same device|should be the same|on device|different device")


def mismatch(error: Exception, found: Trace, arguments: Any) -> SiteError | None:
    """What to raise in the place of `error`, if it comes of data that do not fit a network of the program.

    Args:
        error: what torch raised.
        found: the sites that were reached before.
        arguments: what the program was called with, in any containers.
    """
    if not _TORCH_SAYS.search(str(error)):
        return None
    # Integers may well be meant, for an embedding: they are blamed where no other data can be.
    data = sorted(
        (leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)), key=lambda t: not t.is_floating_point()
    )
    for called, own in _networks(found):
        for tensor in data:
            if (tensor.dtype, tensor.device) != (own.dtype, own.device):
                return SiteError(
                    f"network {called!r} computes in {own.dtype} on {own.device}, and data that the program is called with "
                    f"are {tensor.dtype} on {tensor.device} (shape {tuple(tensor.shape)}); torch says: "
                    f"{str(error).splitlines()[0]}. Convert the data, x.to(dtype=…, device=…), or the network."
                )
    return None


def _networks(found: Trace) -> Iterator[tuple[str, Tensor]]:
    """The name of each network in an execution, and one of its parameters."""
    seen: set[int] = set()
    for site in found.values():
        param = site if isinstance(site, Param) else getattr(site, "param", None)
        if param is None or param.owner is None or id(param.owner) in seen or not isinstance(param.initial, Tensor):
            continue
        seen.add(id(param.owner))
        path = next((path for path, value in param.owner.named_parameters() if value is param.initial), "")
        yield param.name[: len(param.name) - len(path)].rstrip("."), param.initial
