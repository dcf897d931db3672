"""`scan`: a loop in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sursum.common.pytree import Shape, flatten
from sursum.common.settings import whole_number
from sursum.common.user_frame import calling_line
from sursum.core.calling import refuse_coroutines
from sursum.core.messages import Step
from sursum.core.scope import InFrame, around_scans, current_roller, leave
from sursum.errors import ScanError


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any = None, length: int | None = None, *, history: int = 1
) -> tuple[Any, Any]:
    r"""A loop of T steps, :math:`(c_{t+1}, y_t) = f(c_t, x_t)`, whose body may have sites.

    Each step has its own frame, so a site has one name in all of them. A trace has it once, with a leading time dimension;
    handlers that are given values (`condition`, `substitute`, `replay`, `do`) expect this dimension, and each step takes its
    element. A parameter in the body is one parameter for all steps, and one latent site if it is lifted.

    A density runs the body for one step, for any T: `f` must do the same in every step, and must not branch on the values
    of tensors or count steps itself. Put what varies into `xs`.

    Args:
        f: a function of the carry and this step's element of `xs` that returns the next carry, with the same structure,
            shapes and dtypes, and the output of the step.
        init: the initial carry: a tensor or number, or tuples, lists and dicts of them.
        xs: tensors with a leading dimension T, or tuples, lists and dicts of them; None if only the number of steps matters.
        length: the number T, required if `xs` is None.
        history: how many steps back the carry may remember discrete states that are summed out.

    Returns:
        The final carry, and the outputs of the steps along a leading dimension T.

    Raises:
        ScanError: lengths that differ or are 0, a carry that changes its structure, shape or dtype, a site that is not in
            every step.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def step(x, y):
        ...     x = su.sample("x", dist.Normal(0.9 * x, 0.1))
        ...     su.sample("y", dist.Normal(x, 1.0), obs=y)
        ...     return x, x
        >>> with su.poutine.trace() as t:
        ...     last, path = su.scan(step, torch.tensor(0.0), torch.zeros(10))
        >>> path.shape, t.trace["x"].value.shape, bool(path[-1] == last)
        (torch.Size([10]), torch.Size([10]), True)
    """
    name = f"scan ({calling_line()})"
    refuse_coroutines(f)
    rows, rows_shape = flatten(xs)
    steps = _length([_tensor(row, "xs", name) for row in rows], length, name)
    carry, carry_shape = flatten(init)
    first = tuple(_tensor(leaf, "the carry", name) for leaf in carry)
    back = whole_number("history", history, 1, ScanError, "it is how many steps back a discrete state may matter")
    loop = Scan(f, first, carry_shape, tuple(rows), rows_shape, steps, name, back)
    last, ys, ys_shape = around_scans(current_roller() or plain)(loop)
    return carry_shape.build(last), ys_shape.build(ys)


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan to be run: the body, the leaves of its initial carry and of `xs`, and their tree structures."""

    body: Callable[[Any, Any], tuple[Any, Any]]
    init: tuple[Tensor, ...]
    carry_shape: Shape
    xs: tuple[Tensor, ...]
    xs_shape: Shape
    length: int
    name: str
    history: int = 1

    def step(self, step: Step, carry: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[list[Tensor], list[Any], Shape]:
        """One step: the leaves of the next carry, the leaves of its output, and the structure of the output.

        Raises:
            ScanError: the next carry differs from this one in structure, shape or dtype.
        """
        with InFrame(opened=step):
            result = self.body(self.carry_shape.build(carry), self.xs_shape.build(x))
        following = self.next_carry(result, f"step {step.index}")
        for old, new in zip(carry, following, strict=True):
            kinds = [(leaf.dtype, tuple(leaf.shape)) if isinstance(leaf, Tensor) else _kind(leaf) for leaf in (old, new)]
            if kinds[0] != kinds[1]:
                raise ScanError(
                    f"{self.name}: a leaf of the carry is {_abbreviate(kinds[0])} before step {step.index}, and "
                    f"{_abbreviate(kinds[1])} after it. Start with a tensor of the shape and dtype that the body returns."
                )
        ys, ys_shape = flatten(result[1])
        return following, ys, ys_shape

    def next_carry(self, result: Any, step: str) -> list[Any]:
        """The leaves of the carry in what the body returned in `step`.

        Raises:
            ScanError: it is not a pair, or the carry has another structure than the one before.
        """
        if not isinstance(result, tuple) or len(result) != 2:
            raise ScanError(
                f"{self.name}: the body returned {_kind(result)}. It must return two things, the next carry and the output "
                "of the step: return carry, None."
            )
        leaves, shape = flatten(result[0])
        if shape != self.carry_shape:
            raise ScanError(
                f"{self.name}: the carry has the structure {self.carry_shape} before {step}, and {shape} after it. "
                "Return a carry like the one that comes in."
            )
        return leaves


def plain(loop: Scan) -> tuple[list[Tensor], list[Tensor], Shape]:
    """Run the steps one after another: the final carry, and the outputs along a leading dimension."""
    carry, kept = list(loop.init), []
    shape: Shape | None = None
    step = Step(loop.name, None, loop.length, loop=loop)
    for index in range(loop.length):
        step = Step(loop.name, None, loop.length, index=index, loop=loop)
        carry, ys, found = loop.step(step, carry, [row[index] for row in loop.xs])
        check_kept(loop, shape, found)
        shape = found
        kept.append(ys)
    leave(step)
    columns = [[torch.as_tensor(y) for y in column] for column in zip(*kept, strict=True)]
    for column in columns:
        if len({(y.shape, y.dtype) for y in column}) > 1:
            raise ScanError(
                f"{loop.name}: an output has shape {tuple(column[0].shape)} in the first step and a different shape or "
                "dtype later. Return the same in every step."
            )
    assert shape is not None  # there is a step
    return carry, [torch.stack(column) for column in columns], shape


def check_kept(loop: Scan, known: Shape | None, found: Shape) -> None:
    """Check that the outputs of two steps have the same structure."""
    if known is not None and known != found:
        raise ScanError(f"{loop.name}: one step returns {known}, and the next {found}. Keep the structure the same.")


def _length(rows: Sequence[Tensor], length: int | None, name: str) -> int:
    if length is not None:
        length = whole_number("length", length, 1, ScanError, f"it is the number of steps of the {name}")
    lengths = {length} if length is not None else set()
    for row in rows:
        if not row.dim():
            raise ScanError(f"{name}: every tensor in xs needs a leading dimension, time, but one has no dimensions.")
        lengths.add(row.shape[0])
    if len(lengths) != 1:
        found = f"the lengths {sorted(lengths)}" if lengths else "neither xs nor length"
        raise ScanError(f"{name} has {found}, but needs one number of steps. Give xs of one length, or length alone.")
    (steps,) = lengths
    if steps < 1:
        raise ScanError(f"{name} has {steps} steps, but needs at least one: its output is only known after a step.")
    return int(steps)


def _tensor(leaf: Any, what: str, name: str) -> Tensor:
    if not isinstance(leaf, (Tensor, bool, int, float)) or (what == "xs" and not isinstance(leaf, Tensor)):
        raise ScanError(f"{name}: {what} must consist of tensors, but contains {_kind(leaf)}. Use torch.as_tensor(…).")
    return torch.as_tensor(leaf)


def _kind(item: Any) -> str:
    return "None" if item is None else f"a {type(item).__name__}"


def _abbreviate(kind: Any) -> str:
    return kind if isinstance(kind, str) else f"{str(kind[0]).removeprefix('torch.')} of shape {kind[1]}"
