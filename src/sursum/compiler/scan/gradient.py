"""The gradient of a loop: the vector-Jacobian product of one step, itself recorded and run for all steps, backwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sursum.common.torch_private import without_dispatch_modes
from sursum.compiler.graph.graph import Node, refs_of
from sursum.compiler.native.ops import OPS, OperatorCost
from sursum.compiler.scan.body import BodyRecorder, ScanBody
from sursum.compiler.scan.evaluation import Evaluation
from sursum.compiler.scan.expansion import expand_step, log_sum_exp
from sursum.compiler.scan.recurrence import Groups, Loops, LoopStep, apply, operator

_MATRIX = "matmul mm bmm inverse cholesky_solve cholesky_inverse"
_OF_CALLS = ("pow", "sqrt", "rsqrt", "logsumexp", "logaddexp", "softmax", "log_softmax", "sigmoid", "log_sigmoid", "softplus")

#: What is kept for the way back, and not computed again: functions that C calls, and what is made of them.
_COSTLY = frozenset((*(op.torch for op in OPS.values() if op.cost >= OperatorCost.CALL), *_OF_CALLS, *_MATRIX.split())) - {""}


def recur(loops: Loops, step: LoopStep, groups: Groups, length: int) -> list[Tensor]:
    """The sequences of a loop's carry, T + 1 long, differentiable once.

    Args:
        loops: what may run it faster than step by step.
        step: one step.
        groups: its arguments.
        length: T.
    """
    carry, each, fixed = groups
    tensors = (*carry, *each, *fixed)
    if not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in tensors):
        return apply(operator(step, groups, length, loops), groups)
    step = expand_step(step)
    # A step whose gradient cannot be recorded is found out now, when the scan can still be run step by step.
    candidates = tuple(ref.value for node in step.nodes if _is_costly(node) for ref in node.outputs if ref is not None)
    first, before = [tensor[:1] for tensor in each], [tensor.unsqueeze(0) for tensor in carry]
    step = replace(step, kept=candidates)
    probe = _Gradient(step, carry, before, first, fixed, [None] * len(carry))
    step = replace(step, kept=tuple(value for value, mine in zip(candidates, probe.kept, strict=True) if probe.reads(mine)))
    return list(_RecurrenceFunction.apply(loops, step, len(carry), len(each), length, *tensors))


def _is_costly(node: Node) -> bool:
    """Whether a value is kept for the gradient rather than computed once more."""
    if node.op is log_sum_exp:
        return True
    name = str(node.op).removeprefix("aten.").split(".")[0]
    return name in _COSTLY or name.startswith(("linalg_", "special_"))


class _RecurrenceFunction(torch.autograd.Function):
    """A recurrence."""

    @staticmethod
    def forward(
        ctx: Any, loops: Loops, step: LoopStep, carries: int, eaches: int, length: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        groups = tensors[:carries], tensors[carries : carries + eaches], tensors[carries + eaches :]
        results = apply(operator(step, groups, length, loops), groups)
        sequences, kept = results[:carries], results[carries:]
        ctx.loops, ctx.step, ctx.carries, ctx.eaches, ctx.length = loops, step, carries, eaches, length
        ctx.save_for_backward(*tensors, *sequences, *kept)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*[sequence for sequence in sequences if not sequence.is_floating_point()])
        return tuple(sequences)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        end = len(saved) - len(ctx.step.kept)
        tensors, sequences, kept = saved[: end - ctx.carries], saved[end - ctx.carries : end], saved[end:]
        carry, each = tensors[: ctx.carries], tensors[ctx.carries : ctx.carries + ctx.eaches]
        fixed, step = tensors[ctx.carries + ctx.eaches :], ctx.step
        before = [sequence[1:] if step.reverse else sequence[:-1] for sequence in sequences]
        at_start = [None if s is None else s[1:] if step.reverse else s[:-1] for s in slopes]
        at_end = [
            torch.zeros_like(c) if s is None else s[0] if step.reverse else s[-1] for s, c in zip(slopes, carry, strict=True)
        ]
        vjp = _Gradient(step, at_end, before, each, fixed, at_start)
        run = Evaluation(
            vjp.body,
            [at_end[k] for k in vjp.floats],
            vjp.following,
            ctx.length,
            recur=partial(recur, ctx.loops),
            reverse=not step.reverse,
            known=dict(zip(vjp.kept, kept, strict=True)),
        )
        wanted = ctx.needs_input_grad[5:]
        found: list[Tensor | None] = [None] * len(tensors)
        for k, slope in zip(vjp.floats, run.last, strict=True):
            found[k] = slope if wanted[k] else None
        for k, value in enumerate(vjp.slopes, ctx.carries):
            if value is not None and wanted[k]:
                found[k] = run.stacked(value) if k < ctx.carries + ctx.eaches else run.total(value)
        return None, None, None, None, None, *found


@dataclass(init=False)
class _Gradient:
    """The vector-Jacobian product of a step, a body itself.

    Its carry are the slopes of the step's own floating parts, `floats`, and `following` the values of the next ones; `slopes`
    those of the slopes of what differs between steps and of what is fixed; `kept` those of what the step keeps.
    """

    body: ScanBody
    floats: list[int]
    following: list[int]
    slopes: list[int | None]
    kept: list[int]

    def __init__(
        self,
        step: LoopStep,
        slope: Sequence[Tensor],
        before: Sequence[Tensor],
        each: Sequence[Tensor],
        fixed: Sequence[Tensor],
        at_start: Sequence[Tensor | None],
    ) -> None:
        recorder = BodyRecorder(differentiates=True)
        self.floats = [k for k, tensor in enumerate(before) if tensor.is_floating_point()]
        place = 0 if step.reverse else -1
        with without_dispatch_modes(), torch.enable_grad():
            c = [recorder.row(_leaf(tensor[place]), tensor) for tensor in before]
            x = [recorder.row(_leaf(tensor[place]), tensor) for tensor in each]
            w = [recorder.fixed(_leaf(tensor), tensor) for tensor in fixed]
            above = {k: recorder.carry(slope[k].detach().clone()) for k in self.floats}
            direct = {k: recorder.row(s[place].detach().clone(), s) for k, s in enumerate(at_start) if s is not None}
            inputs = [tensor for tensor in (*c, *x, *w) if tensor.requires_grad]
            with recorder:
                results = step.run(c, x, w)
                after = results[: len(c)]
                moving = [k for k in self.floats if after[k].requires_grad]
                slopes = torch.autograd.grad([after[k] for k in moving], inputs, [above[k] for k in moving], allow_unused=True)
                found = {id(tensor): s for tensor, s in zip(inputs, slopes, strict=True)}
                self.following = []
                for k in self.floats:
                    parts = [part for part in (direct.get(k), found[id(c[k])]) if part is not None]
                    total = parts[0] + parts[1] if len(parts) > 1 else parts[0] if parts else torch.zeros_like(above[k])
                    self.following.append(recorder.value(total))
            self.slopes = []
            for tensor in (*x, *w):
                part = found.get(id(tensor))
                self.slopes.append(None if part is None else recorder.value(part))
            self.kept = [recorder.value(tensor) for tensor in results[len(c) :]]
            self.body = recorder.body([])

    def reads(self, value: int) -> bool:
        """Whether the gradient needs `value`, one of those that are kept, when the others are."""
        made = {ref.value: node for node in self.body.graph.nodes for ref in node.outputs if ref is not None}
        cut, seen = set(self.kept), set()
        open_ = [*self.following, *(slope for slope in self.slopes if slope is not None)]
        while open_:
            found = open_.pop()
            if found in seen:
                continue
            seen.add(found)
            if found in made and found not in cut:
                open_.extend(ref.value for ref in refs_of(made[found]))
        return value in seen


def _leaf(tensor: Tensor) -> Tensor:
    """A copy with respect to which a gradient is taken."""
    copy = tensor.detach().clone()
    return copy.requires_grad_() if copy.is_floating_point() else copy
