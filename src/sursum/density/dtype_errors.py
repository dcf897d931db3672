"""Explain torch's errors in terms of the program: mixed dtypes or devices, and others."""

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
def explain_torch_errors(found: Callable[[], Trace], program: Any, args: Any, kwargs: Any) -> Iterator[None]:
    """Convert torch's errors about a dtype, a device, an index, or a value changed in place to errors in terms of the program.

    Args:
        found: returns the sites reached before the error.
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
            instead = mismatch(error, reached, _name_arguments(program, args, kwargs))
        if instead is None:
            raise
        raise instead from error


def mismatch(error: RuntimeError, found: Trace, arguments: Mapping[str, Any]) -> SiteError | None:
    """What to raise instead of `error`, if its cause is data that do not match a network, parameter or site of the program.

    Args:
        error: the error that torch raised.
        found: the sites reached before the error.
        arguments: the program's arguments by name, in any containers.
    """
    if not _TORCH_SAYS.search(str(error)):
        return None
    # Integers may be intended, for an embedding: they are blamed only if no other data can be.
    data = [(name, leaf) for name, item in arguments.items() for leaf in tree_leaves(item) if isinstance(leaf, Tensor)]
    data.sort(key=lambda pair: not pair[1].is_floating_point())
    says = f"torch says: {str(error).splitlines()[0]}"
    for called, own in _networks(found):
        for name, tensor in data:
            if (tensor.dtype, tensor.device) != (own.dtype, own.device):
                return SiteError(
                    f"network {called!r} computes in {_own_dtype(own)} on {own.device}, but the data "
                    f"in {name} are {tensor.dtype} on {tensor.device} (shape {tuple(tensor.shape)}); {says}. Convert the "
                    "data, x.to(dtype=…, device=…), or the network."
                )
    for site in found.values():
        value = site.value
        if not isinstance(value, Tensor) or not value.is_floating_point() or getattr(site, "is_observed", False):
            continue
        for name, tensor in data:
            if (tensor.dtype, tensor.device) != (value.dtype, value.device):
                return SiteError(
                    f"{site.type} site {site} has {value.dtype} on {value.device} (shape {tuple(value.shape)}), but the "
                    f"data in {name} are {tensor.dtype} on {tensor.device} (shape {tuple(tensor.shape)}); "
                    f"{says}. A product of matrices needs one dtype: convert the data, {name}.to({value.dtype}), or give the "
                    f"site arguments of the data's, torch.zeros(…, dtype={name}.dtype)."
                )
    return None


def _own_dtype(tensor: Tensor) -> torch.dtype:
    """The true dtype of a tensor, even where all are reported as double."""
    with DisableTorchFunction():
        return tensor.dtype


def _name_arguments(program: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of `program`, by name where known."""
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
