"""`Training`: the complete state of an optimisation: parameters, optimiser, step, losses, baselines."""

from __future__ import annotations

import math
import os
from array import array
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.common.torch_private import without_dynamo
from sursum.distributed.gradients import Gradients
from sursum.errors import StorageError, VariationalError
from sursum.handlers import ParamStore
from sursum.io.files import interpreting
from sursum.optim import Optim, Scheduler, advance_schedule
from sursum.training.checkpoint import State, check_same_settings, read_state, write_state

KIND = "sursum SVI"

AGREE = 100
"""Steps after which ranks, whose processors may round differently, take the parameters of rank 0."""


class Training:
    """Parameters as unconstrained leaves in float64, the torch optimiser that updates them, and the history.

    Args:
        optim: makes the optimiser when the parameters are known.
        seed: the seed of the run; randomness of step t comes from (seed, t).
    """

    def __init__(self, optim: Optim, seed: int) -> None:
        self.optim, self.seed = optim, seed
        self.store = ParamStore(double=True)
        self.optimizer: torch.optim.Optimizer | None = None
        self.scheduler: Scheduler | None = None
        self.losses = array("d")  # as doubles: a list of millions of them takes four times the memory, and seconds to convert
        self.baselines: dict[str, Tensor] = {}
        self.taken = 0  # batches that loaders have given
        self.gradients: Gradients | None = None  # over ranks, which take the same steps
        self._held: dict[str, Tensor] = {}
        self._settings: dict[str, Any] = {}  # with which the optimiser was made
        self._loaded: State | None = None

    @property
    def steps(self) -> int:
        """The number of steps taken."""
        return len(self.losses)

    @property
    def leaves(self) -> dict[str, Tensor]:
        """The unconstrained tensors that are optimised, by parameter."""
        return {name: leaf for name, leaf in self.store.unconstrained.items() if leaf.requires_grad}

    def narrow(self) -> None:
        """Train every parameter in its own dtype and on its device, instead of in double precision. Before the first step."""
        self.store.double = False
        for name, leaf in self.store.unconstrained.items():
            initial = self.store.sites[name].initial
            if isinstance(initial, Tensor) and initial.dtype is not leaf.dtype:
                self.store.unconstrained[name] = leaf.detach().to(initial.dtype).requires_grad_(leaf.requires_grad)

    def ready(self) -> torch.optim.Optimizer:
        """The optimiser, with all current parameters of the store.

        Raises:
            VariationalError: there are no parameters.
        """
        if self.optimizer is None:
            self._held = self.leaves
            if not self._held:
                raise VariationalError(
                    "the optimiser has no parameters: neither the guide nor the model has one that can be trained. Write "
                    "a param or a module in the guide, use one of infer.autoguide, or set requires_grad on the network."
                )
            self.optimizer = self.optim.build(self._held)
            # Where schedules are evaluated ahead of the steps, torch would warn about the order.
            self.optimizer._opt_called = True  # type: ignore[attr-defined]
            self.scheduler = None if self.optim.scheduler is None else self.optim.scheduler(self.optimizer)
            self._settings = self._current_settings(self.optimizer)
            try:
                self._restore()
            except BaseException:
                self.optimizer = self.scheduler = None  # a step that is tried again fails in the same way
                raise
        for name, leaf in self.leaves.items():
            if name not in self._held:
                self._held[name] = leaf
                options = self.optim.options
                group = {"params": [leaf], **(options(name) if callable(options) else {})}
                with without_dynamo():
                    self.optimizer.add_param_group(group)
        return self.optimizer

    def _current_settings(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The settings of the optimiser and of its schedule, by name, as they are now: a schedule changes them."""
        with without_dynamo():
            groups = optimizer.state_dict()["param_groups"]
        names = [""] if len(groups) == 1 else [f"[{k}]" for k in range(len(groups))]
        found = {
            f"optim{name}.{key}": value
            for name, group in zip(names, groups, strict=True)
            for key, value in _plain(group).items()
            if key != "params"
        }
        found |= {"optim.clip_norm": self.optim.clip_norm, "optim.clip_value": self.optim.clip_value}
        found["scheduler"] = None if self.scheduler is None else type(self.scheduler).__name__
        state = {} if self.scheduler is None else _plain(self.scheduler.state_dict())
        return found | {f"scheduler.{key}": value for key, value in state.items()}

    def descend(self, loss: float, gradients: Mapping[str, Tensor | None]) -> None:
        """One step of the optimiser along these gradients; over ranks along their sums."""
        optimizer = self.ready()
        leaves = self.leaves
        if self.gradients is not None:
            loss, gradients = self._total(loss, gradients, self.gradients)
        for name, leaf in leaves.items():
            leaf.grad = gradients.get(name)
        self.optim.clip(leaves.values())
        self.optim.step(optimizer)
        for leaf in leaves.values():
            leaf.grad = None
        self.losses.append(loss)
        self.schedule(loss)
        if self.steps % AGREE == 0:
            self.agree()

    def agree(self) -> None:
        """Take the parameters of rank 0; alone, do nothing."""
        if self.gradients is not None:
            with torch.no_grad():
                for name, value in self.gradients.leading(self.gradients.leaves).items():
                    self.store.unconstrained[name].copy_(value)

    def _total(
        self, loss: float, gradients: Mapping[str, Tensor | None], over: Gradients
    ) -> tuple[float, Mapping[str, Tensor | None]]:
        if list(over.leaves) != list(self.leaves):  # parameters that were not there when the ranks met
            over = self.gradients = Gradients(self.leaves)
        total, slopes = over.total(loss, gradients)
        if not math.isfinite(total):
            raise VariationalError(
                f"the loss of all ranks together is {total}, although that of each is finite. The parameters are those before "
                "this step. Lower the learning rate, or scale the data."
            )
        return total, slopes

    def schedule(self, loss: float) -> None:
        """One step of the learning-rate schedule, if there is one."""
        advance_schedule(self.scheduler, loss)

    # Files.

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file (NumPy's `.npz`, no pickles), all or nothing.

        Raises:
            VariationalError: there is nothing to save yet, or a schedule has a state that is not numbers.
        """
        if self.optimizer is None:
            raise VariationalError("there is nothing to save yet: run SVI, or call `step`, first.")
        write_state(path, KIND, self.state(), VariationalError)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Continue from a file that `save` wrote. Nothing in it is executed.

        Raises:
            StorageError: the file is truncated, damaged, or of a different kind.
            VariationalError: it has different parameters, or a different optimiser, or options of it.
        """
        before, self._loaded = self._loaded, read_state(path, KIND)
        if self.optimizer is not None:
            try:
                with interpreting(path, "a checkpoint written by `save`"):
                    self._restore()
            except (VariationalError, StorageError):
                self._loaded = before
                raise

    def state(self) -> State:
        """Everything, once there is an optimiser."""
        optimizer = self.ready()
        with without_dynamo():
            state = optimizer.state_dict()
        tensors = {f"leaf/{name}": leaf for name, leaf in self.store.unconstrained.items()}
        tensors |= {f"baseline/{name}": value for name, value in self.baselines.items()}
        plain: dict[str, dict[str, Any]] = {}
        for index, entries in state["state"].items():
            plain[str(index)] = {}
            for key, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"state/{index}/{key}"] = value
                else:
                    plain[str(index)][key] = value
        note = {
            "seed": self.seed,
            "optimizer": type(optimizer).__name__,
            "settings": self._settings,
            "groups": [_plain(group) for group in state["param_groups"]],
            "state": plain,
            "trained": list(self._held),
            "taken": self.taken,
            "scheduler": None if self.scheduler is None else _plain(self.scheduler.state_dict()),
        }
        return State(note, {"losses": torch.from_numpy(np.array(self.losses)), **tensors})

    def restore(self, state: State) -> None:
        """Continue from an earlier `state`.

        Raises:
            VariationalError: it has different parameters, or a different optimiser, or options of it.
        """
        self._loaded = state
        self.ready()
        self._restore()

    def _restore(self) -> None:
        """Replace the current state by the loaded one."""
        if self._loaded is None or self.optimizer is None:
            return
        note, tensors = self._loaded.note, self._loaded.tensors
        leaves = self._loaded.within("leaf/")
        here = {name: tuple(leaf.shape) for name, leaf in self.store.unconstrained.items()}
        there = {name: tuple(leaf.shape) for name, leaf in leaves.items()}
        if here != there:
            raise VariationalError(
                f"the saved parameters are not those of the programs here. Saved: {_shapes(there)}; here: {_shapes(here)}. "
                "Load the file into a run of the same programs."
            )
        if note["optimizer"] != type(self.optimizer).__name__ or list(note["trained"]) != list(self._held):
            raise VariationalError(
                f"the file was saved with the optimiser {note['optimizer']}, but this run has "
                f"{type(self.optimizer).__name__} or different trained parameters. Use the optimiser it was saved with."
            )
        if "settings" in note:  # files of earlier versions have none
            check_same_settings(self._loaded, self._settings, VariationalError)
        state: dict[int, dict[str, Any]] = {int(index): dict(entries) for index, entries in note["state"].items()}
        for name, tensor in self._loaded.within("state/").items():
            index, key = name.split("/", 1)
            state[int(index)][key] = tensor
        with torch.no_grad():
            for name, leaf in self.store.unconstrained.items():
                leaf.copy_(leaves[name])
        with without_dynamo():
            self.optimizer.load_state_dict({"state": state, "param_groups": note["groups"]})
        # torch casts some of the state to the parameters' dtype: restore what was saved, bit for bit.
        for place, leaf in enumerate(p for group in self.optimizer.param_groups for p in group["params"]):
            self.optimizer.state[leaf].update(state.get(place, {}))
        if self.scheduler is not None and note["scheduler"] is not None:
            self.scheduler.load_state_dict(_as_before(note["scheduler"], self.scheduler.state_dict()))
        self.losses = array("d", tensors["losses"].double().numpy().tobytes())
        self.seed, self.taken = int(note["seed"]), int(note.get("taken", 0))
        self.baselines = self._loaded.within("baseline/")
        self._loaded = None


def check_depends(loss: Tensor) -> None:
    """Raise if a loss has no gradient.

    Raises:
        VariationalError: it does not depend on any parameter.
    """
    if not loss.requires_grad:
        raise VariationalError(
            "the loss does not depend on any parameter. Check that the programs use the parameters that they read, "
            "without `detach` or `no_grad`."
        )


def check_slopes(slopes: Mapping[str, Tensor | None]) -> None:
    """Raise if the gradient by a parameter is not finite.

    Raises:
        VariationalError: names the parameter.
    """
    for name, slope in slopes.items():
        if slope is not None and not bool(torch.isfinite(slope).all()):
            raise VariationalError(
                f"the loss is finite, but its gradient by parameter {name!r} is not. The parameters are those before this "
                "step. Look for a function with an infinite slope (sqrt or log at zero, a norm of zeros) in its computation."
            )


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state without what JSON cannot represent and torch recreates: functions, and methods that it wraps."""
    return {key: float(v) if isinstance(v, Tensor) and v.dim() == 0 else v for key, v in state.items() if not callable(v)}


def _as_before(saved: Any, now: Any) -> Any:
    """A state that was read from JSON, whose keys are strings, with whole numbers as keys where the state now has them."""
    if isinstance(saved, Mapping) and isinstance(now, Mapping):
        numbered = bool(now) and all(isinstance(key, int) for key in now)
        keyed = {int(key) if numbered else key: value for key, value in saved.items()}
        found = {key: _as_before(value, now.get(key)) for key, value in keyed.items()}
        return Counter(found) if isinstance(now, Counter) else found
    if isinstance(saved, list) and isinstance(now, (list, tuple)) and len(saved) == len(now):
        return [_as_before(one, other) for one, other in zip(saved, now, strict=True)]
    return saved


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name!r} {shape}" for name, shape in shapes.items()) or "none"
