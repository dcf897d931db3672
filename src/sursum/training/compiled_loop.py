"""Many steps in one call: a C loop over a compiled loss, noise drawn beforehand, and the optimiser's arithmetic.

The loop does not depend on model and guide: it calls their function by address, so one library serves all.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.graph import increment_version

from sursum.compiler.native.library.loaded import load
from sursum.training.packed import Packed

Array = NDArray[np.float64]
_SOURCE = files(__package__).joinpath("steps.c")


class _Task(ctypes.Structure):
    """`struct task` of the C text."""

    _fields_ = (
        ("loss", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("dim", ctypes.c_int64),
        ("noise", ctypes.c_int64),
        ("particles", ctypes.c_int64),
        ("order", ctypes.c_double),
        ("clip_value", ctypes.c_double),
        ("clip_norm", ctypes.c_double),
        ("rule", ctypes.c_int64),
        ("a", ctypes.c_double),
        ("b", ctypes.c_double),
        ("eps", ctypes.c_double),
        ("decay", ctypes.c_double),
        ("flag", ctypes.c_int64),
        ("taken", ctypes.c_int64),
        ("point", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("slope", ctypes.c_void_p),
        ("first", ctypes.c_void_p),
        ("second", ctypes.c_void_p),
        ("parts", ctypes.c_int64),
        ("sizes", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("firsts", ctypes.c_void_p),
        ("seconds", ctypes.c_void_p),
        ("counts", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class UpdateRule:
    """A torch optimiser for the C loop: its rule, its constants, and the names of its running averages."""

    number: int
    a: float
    b: float
    eps: float
    decay: float
    flag: bool
    first: str | None
    second: str | None


def rule_of(optimizer: torch.optim.Optimizer) -> UpdateRule | None:
    """The rule with exactly the arithmetic of a torch optimiser; None if the loop does not implement it."""
    if len(optimizer.param_groups) != 1:
        return None
    group = optimizer.param_groups[0]
    unknown = ("maximize", "amsgrad", "centered", "differentiable", "capturable")
    if any(group.get(name) for name in unknown) or any(isinstance(value, Tensor) for value in group.values()):
        return None
    if isinstance(group["lr"], Tensor) or any(isinstance(beta, Tensor) for beta in group.get("betas", ())):
        return None
    kind, decay = type(optimizer), group.get("weight_decay", 0.0)
    if kind is torch.optim.SGD:
        momentum = group["momentum"]
        average = "momentum_buffer" if momentum else None
        return UpdateRule(0, momentum, group["dampening"], 0.0, decay, group["nesterov"], average, None)
    if kind in (torch.optim.Adam, torch.optim.AdamW):
        decoupled = kind is torch.optim.AdamW or bool(group.get("decoupled_weight_decay"))
        first, second = group["betas"]
        return UpdateRule(1, first, second, group["eps"], decay, decoupled, "exp_avg", "exp_avg_sq")
    if kind is torch.optim.Adagrad:
        return UpdateRule(2, group["lr_decay"], 0.0, group["eps"], decay, False, None, "sum")
    if kind is torch.optim.RMSprop:
        average = "momentum_buffer" if group["momentum"] else None
        return UpdateRule(3, group["momentum"], group["alpha"], group["eps"], decay, False, average, "square_avg")
    return None


class TrainingLoop:
    """The C loop for one objective and one optimiser.

    Raises:
        CompileError: the loop cannot be compiled.
    """

    def __init__(self, objective: Packed, particles: int, order: float, rule: UpdateRule, clip: tuple[float, float]) -> None:
        native = objective.function.native
        assert native is not None
        self.objective, self.particles, self.rule = objective, particles, rule
        self._steps = load(_SOURCE.read_text(encoding="ascii"), ("sursum_steps",)).handle.sursum_steps
        self._steps.restype = ctypes.c_int64
        self._steps.argtypes = [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 3]
        n, k = objective.dim, objective.width
        self._instance = native.instance()
        self._point, self._out, self._weight = np.zeros(n + k), np.zeros(particles * (1 + n)), np.zeros(particles)
        self._slope = self._out[1:] if particles == 1 else np.zeros(n)
        self._first, self._second = np.zeros(n), np.zeros(n)
        self._task = _Task(
            native.address, self._instance.pointer, n, k, particles, order, *clip,
            rule.number, rule.a, rule.b, rule.eps, rule.decay, int(rule.flag), 0,
            *(a.ctypes.data for a in (self._point, self._out, self._weight, self._slope, self._first, self._second)),
        )  # fmt: skip
        self._pointer = ctypes.addressof(self._task)
        self._tensors: list[Tensor] = []
        self._places: list[int] = []
        self._tables: list[Any] = []

    def steps(self, noise: Tensor, rates: Array, losses: Array, optimizer: torch.optim.Optimizer) -> int:
        """Take a step for each row of `noise`, up to the first failure; parameters and the optimiser's state are written into.

        Args:
            noise: float64, (steps, particles · width), contiguous: all that a particle takes besides the parameters.
            rates: the learning rate at each step.
            losses: filled with the loss at each step.

        Returns:
            The number of steps taken.
        """
        leaves = list(self.objective.leaves.values())
        bound = self._bind(optimizer, leaves)
        if not bound:
            self._point[: self.objective.dim] = self.objective.coordinates()
            self._task.taken = self._read(optimizer, leaves)
        taken = int(self._steps(self._pointer, len(rates), noise.data_ptr(), rates.ctypes.data, losses.ctypes.data))
        if bound:
            increment_version(leaves)
        else:
            self.objective.write(self._point[: self.objective.dim].copy())
            if taken:
                self._write(optimizer, leaves, self._task.taken + taken)
        return taken

    def _bind(self, optimizer: torch.optim.Optimizer, leaves: Sequence[Tensor]) -> bool:
        """Let the loop read and write the tensors themselves, where they are as it takes them; False if they are not.

        They are looked up before every call: a user may have put others in their place, or their memory elsewhere.
        """
        names = [name for name in (self.rule.first, self.rule.second) if name is not None]
        if self.rule.number:
            names.append("step")
        tensors = list(leaves)
        for leaf in leaves:
            state = optimizer.state.get(leaf)
            if state is None:
                tensors = [] if names else tensors
                break
            tensors += [state.get(name) for name in names]
        try:
            places = [tensor.data_ptr() for tensor in tensors]
        except AttributeError:  # a state that is None, or a number
            places = []
        if not places or places != self._places or any(a is not b for a, b in zip(tensors, self._tensors, strict=True)):
            self._tensors, self._places = [], []
            self._task.parts = 0
            self._task.values = self._task.firsts = self._task.seconds = self._task.counts = None
            if not places or not self._point_to(leaves, names, tensors):
                return False
            self._tensors, self._places = tensors, places
        if self.rule.number:
            self._task.taken = int(tensors[-1])
        else:
            self._task.taken = int(bool(names))
        return True

    def _point_to(self, leaves: Sequence[Tensor], names: Sequence[str], tensors: Sequence[Tensor]) -> bool:
        """Fill the tables of addresses; False where a tensor is not one whose memory the loop understands."""
        columns: dict[str, list[Tensor]] = {"": list(leaves)}
        for k, name in enumerate(names):
            columns[name] = list(tensors[len(leaves) + k :: len(names)])
        for name, column in columns.items():
            for tensor, leaf in zip(column, leaves, strict=True):
                count = name == "step"
                right = tensor.dtype is (torch.float32 if count else torch.float64)
                if not (right and tensor.is_contiguous() and tensor.numel() == (1 if count else leaf.numel())):
                    return False
                if tensor.device.type != "cpu":
                    return False

        def table(name: str | None) -> Any:
            return None if name not in columns else np.array([tensor.data_ptr() for tensor in columns[name]], np.uintp)

        sizes = np.array([leaf.numel() for leaf in leaves], np.int64)
        values, first, second, counts = table(""), table(self.rule.first), table(self.rule.second), table("step")
        self._tables = [sizes, values, first, second, counts]  # kept alive
        self._task.parts = len(leaves)
        self._task.sizes, self._task.values, self._task.firsts, self._task.seconds, self._task.counts = (
            None if one is None else one.ctypes.data for one in self._tables
        )
        return True

    def _averages(self) -> list[tuple[str, Array]]:
        named = ((self.rule.first, self._first), (self.rule.second, self._second))
        return [(name, array) for name, array in named if name is not None]

    def _read(self, optimizer: torch.optim.Optimizer, leaves: Sequence[Tensor]) -> int:
        """Copy the optimiser's running averages to the loop's arrays; returns how many steps it has taken."""
        self._first[:], self._second[:] = 0.0, 0.0
        taken, at = 0, 0
        for leaf in leaves:
            state: Mapping[str, Any] = optimizer.state.get(leaf, {})
            for name, array in self._averages():
                if state.get(name) is not None:
                    array[at : at + leaf.numel()] = state[name].detach().reshape(-1).numpy()
            if self.rule.number == 0:
                taken = 1 if state.get("momentum_buffer") is not None else taken
            else:
                taken = int(state.get("step", taken))
            at += leaf.numel()
        return taken

    def _write(self, optimizer: torch.optim.Optimizer, leaves: Sequence[Tensor], steps: int) -> None:
        at = 0
        for leaf in leaves:
            state = optimizer.state[leaf]
            for name, array in self._averages():
                state[name] = torch.from_numpy(array[at : at + leaf.numel()].copy()).reshape(leaf.shape)
            if self.rule.number:
                state["step"] = torch.tensor(float(steps), dtype=torch.float32)
            at += leaf.numel()
