"""The errors of a capture: what happened where, what was expected, what to do."""

from __future__ import annotations

import torch
from torch import Tensor

from sursum.compiler.graph.graph import Where
from sursum.errors import BranchError, CaptureError, UncapturableError

_DTYPES = frozenset(
    (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    )
)

_AS_IT_IS = " Or sample the program as it is, many times slower: `engine='eager'`."


def place(where: Where) -> str:
    """Where something happened, for a message.

    >>> place(Where("tau", "model.py:7"))
    " at site 'tau' (model.py:7)"
    >>> place(Where(None, None))
    ''
    """
    site = f" at site {where.site!r}" if where.site is not None else ""
    line = f" ({where.line})" if where.line is not None else ""
    return site + line


def branch(what: str, where: Where, *, whole: bool = False) -> BranchError:
    """Python read a value that depends on q; `whole` says that it is an integer, and so perhaps an index."""
    at = (
        " To look up a computed index k, write table[k] with a tensor as the table; instead of a slice x[:k] "
        "mask the rest, torch.where(torch.arange(len(x)) < k, x, 0.0)."
    )
    return BranchError(
        f"{what} looked at a value that depends on the unknowns{place(where)}: a captured density runs the "
        "same operators for every q, so Python may not branch on it or turn it into a number. "
        f"Write the choice as torch.where(condition, a, b), and keep numbers as tensors.{at if whole else ''}{_AS_IT_IS}"
    )


def went_on(where: Where) -> BranchError:
    """A check fails at some q, and the program continues there instead of raising an error."""
    return BranchError(
        f"a check that failed, and after which the program went on another way{place(where)}: it catches the error, or looks "
        "at the check itself. A captured density runs the same operators for every q. Write the choice as torch.where("
        "condition, a, b); add a fixed jitter to a matrix that may have no factor, instead of trying." + _AS_IT_IS
    )


def control_flow(where: Where) -> CaptureError:
    """One of torch's operators that take functions."""
    return CaptureError(
        "an operator that takes functions (torch.cond, torch.while_loop, torch.ops.higher_order) runs them in a way of its own"
        f"{place(where)}, which a capture does not know. "
        "Write a choice as torch.where(condition, a, b), and a loop with su.scan or as a loop of Python." + _AS_IT_IS
    )


def dynamic_shape(name: str, where: Where) -> BranchError:
    """The shape of a result depends on q."""
    return BranchError(
        f"{name} makes a tensor whose shape depends on the unknowns{place(where)}: a captured density has one "
        "shape for every q. Use torch.where(mask, a, b) instead of indexing by a mask." + _AS_IT_IS
    )


def randomness(name: str, where: Where) -> CaptureError:
    """The program draws at random."""
    hint = ""
    if any(part in name for part in ("dropout", "bernoulli", "rrelu")):
        hint = "If this is a network's dropout, put the network into evaluation mode, net.eval(). "
    return CaptureError(
        f"the program draws at random while it is scored: {name}{place(where)}. A density is a function of the "
        f"unknowns alone. {hint}Make the draw a site, su.sample(name, distribution), or pass the numbers in as data."
    )


def batch_norm(name: str, where: Where) -> CaptureError:
    """A batch norm in training mode."""
    return CaptureError(
        f"{name} updates the running statistics of a batch norm{place(where)}: scoring may not change the network. "
        "Put the network into evaluation mode, net.eval()."
    )


def outside_write(name: str, where: Where) -> CaptureError:
    """A write to memory that the program did not create."""
    return CaptureError(
        f"{name} writes into a tensor that was made outside of the program{place(where)}: scoring may not change its "
        "data. Write into a copy, x = x.clone(); put a network with batch norm into evaluation mode, net.eval()."
    )


def rebinding(name: str, where: Where) -> CaptureError:
    """The storage of a tensor is replaced."""
    return CaptureError(
        f"{name} gives a tensor other memory{place(where)}: a captured tensor keeps its storage. "
        "Make a new tensor of the new size."
    )


def reinterpretation(name: str, kept: object, seen: object, where: Where) -> UncapturableError:
    """One storage read as two dtypes."""
    return UncapturableError(
        f"{name} reads {kept} memory as {seen}{place(where)}: a capture knows one dtype for a tensor's memory. "
        "Convert with .to(dtype) instead of .view(dtype)."
    )


def check_kind(tensor: Tensor, name: str, where: Where) -> None:
    """Raise for a tensor of a kind that is not captured, which the operator `name` handles."""
    if tensor.layout is not torch.strided or tensor.is_nested:
        raise _kind(name, f"not dense ({tensor.layout})", where)
    if tensor.dtype not in _DTYPES:
        raise _kind(name, f"of dtype {tensor.dtype}", where)
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        raise _kind(name, f"a {type(tensor).__name__}, which dispatches operators itself", where)


def check_not_negated(tensor: Tensor, name: str, where: Where) -> None:
    """Raise for a tensor from outside whose memory has the numbers with the opposite sign."""
    if tensor.is_neg():
        raise _kind(name, "a negated view of a complex one", where)


def _kind(name: str, found: str, where: Where) -> UncapturableError:
    return UncapturableError(
        f"{name} handles a tensor that is {found}{place(where)}: a capture knows dense real tensors. "
        "Write this part of the program with real and imaginary parts, or with .to_dense() tensors."
    )
