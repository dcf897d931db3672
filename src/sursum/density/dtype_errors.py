"""What torch refuses in a program, in words: tensors that are not of one dtype or not on one device, and others."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from sursum.common.torch_private import DisableTorchFunction, tree_leaves
from sursum.core.in_place import in_place
from sursum.core.messages import Param
from sursum.core.out_of_range import outside
from sursum.core.runtime import Messenger
from sursum.core.trace import Trace
from sursum.errors import SiteError, SursumError

_TORCH_SAYS = re.compile(r"dtype|scalar type|same device|should be the same|on device|different device")


@contextmanager
def explained(found: Callable[[], Trace], program: Any, args: Any, kwargs: Any) -> Iterator[None]:
    """Where torch refuses what is run inside for a dtype or a device, an index, or a value that is changed in place, say it in
    terms of the program.

    Args:
        found: gives the sites that were reached before.
        program: what is run, with `args` and `kwargs`.
    """
    try:
        yield
    except SursumError:
        raise
    except (RuntimeError, IndexError) as error:
        reached = found()
        instead = outside(error, after=next(reversed(reached.nodes), None)) or in_place(error)
        if instead is None and isinstance(error, RuntimeError):
            instead = mismatch(error, reached, _named(program, args, kwargs))
        if instead is None:
            raise
        raise instead from error


def mismatch(error: RuntimeError, found: Trace, arguments: Mapping[str, Any]) -> SiteError | None:
    """What to raise in the place of `error`, if it comes of data that do not fit a network, parameter or site of the program.

    Args:
        error: what torch raised.
        found: the sites that were reached before.
        arguments: what the program was called with, by name, in any containers.
    """
    if not _TORCH_SAYS.search(str(error)):
        return None
    # Integers may well be meant, for an embedding: they are blamed where no other data can be.
    data = [(name, leaf) for name, item in arguments.items() for leaf in tree_leaves(item) if isinstance(leaf, Tensor)]
    data.sort(key=lambda pair: not pair[1].is_floating_point())
    says = f"torch says: {str(error).splitlines()[0]}"
    for called, own in _networks(found):
        for name, tensor in data:
            if (tensor.dtype, tensor.device) != (own.dtype, own.device):
                return SiteError(
                    f"network {called!r} computes in {_own_dtype(own)} on {own.device}, and data that the program is called "
                    f"with, {name}, are {tensor.dtype} on {tensor.device} (shape {tuple(tensor.shape)}); {says}. Convert the "
                    "data, x.to(dtype=…, device=…), or the network."
                )
    for site in found.values():
        value = site.value
        if not isinstance(value, Tensor) or not value.is_floating_point() or getattr(site, "is_observed", False):
            continue
        for name, tensor in data:
            if (tensor.dtype, tensor.device) != (value.dtype, value.device):
                return SiteError(
                    f"{site.type} site {site} has {value.dtype} on {value.device} (shape {tuple(value.shape)}), and data that "
                    f"the program is called with, {name}, are {tensor.dtype} on {tensor.device} (shape {tuple(tensor.shape)}); "
                    f"{says}. A product of matrices needs one dtype: convert the data, {name}.to({value.dtype}), or give the "
                    f"site arguments of the data's, torch.zeros(…, dtype={name}.dtype)."
                )
    return None


def _own_dtype(tensor: Tensor) -> torch.dtype:
    """The dtype of a tensor, also where all are taken for double."""
    with DisableTorchFunction():
        return tensor.dtype


def _named(program: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """What `program` is called with, by the names of its arguments where they are known."""
    while isinstance(program, Messenger):
        program = program.fn
    try:
        names = list(inspect.signature(program).parameters.values())
        known = [p.name for p in names if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        known = []
    named = {known[i] if i < len(known) else f"argument {i + 1}": value for i, value in enumerate(args)}
    return named | dict(kwargs)


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
