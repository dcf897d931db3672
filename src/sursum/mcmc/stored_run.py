"""A stored run that was cut short, as `MCMC.resume` finds it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from sursum.compiler.native.library.toolchain import machine
from sursum.draws import run_store
from sursum.draws.chain_states import read_states
from sursum.errors import StorageError
from sursum.io.zarr_store import ZarrStore
from sursum.mcmc.extend import check_names, check_value
from sursum.mcmc.kernel import native
from sursum.mcmc.kernel.adaptation import Adaptation
from sursum.mcmc.kernel.state import State
from sursum.mcmc.sweeps import Sweeps


@dataclass(frozen=True, eq=False)
class ResumableRun:
    """What a run needs to go on.

    Args:
        store: its draws.
        before: draws of each chain before the first that is stored, where the run extends another.
        num_warmup: draws of its warm-up.
        names: the sites that are kept.
        thin: one draw in this many is kept.
        adaptation: how its warm-up finds a metric.
        num_samples: draws of each chain after the warm-up, with those that are not kept.
        identity: what the draws' bits depend on.
        states: of the chains.
        taken: how many draws of each chain are in the store, with those that are not kept.
    """

    store: ZarrStore
    before: int
    num_warmup: int
    names: tuple[str, ...]
    thin: int
    adaptation: Adaptation
    num_samples: int
    identity: str
    states: list[State]
    taken: list[int]
    coordinates: tuple[str, ...]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """The run at a path.

        Raises:
            StorageError: there is none, or it has no states, or a power cut has lost draws before them.
        """
        store, note = ZarrStore.open(path, run_store.KIND, run_store.VERSION)
        chains, sampling = int(note["chains"]), note.get("sampling")
        try:
            states = [State.of(np.frombuffer(block, dtype=np.uint8).copy()) for block in read_states(path, chains)]
        except ValueError as error:
            raise _cannot(path, f"the state of a chain cannot be read: {error}") from error
        if sampling is None or not states:
            raise _cannot(path, "the states of its chains are missing or damaged")
        if note.get("kept") is not None:
            raise _cannot(path, "it ended where the condition of `until` held")
        warmup, thin = int(sampling["num_warmup"]), int(sampling["thin"])
        (warm, _), (kept, _) = (store.sound(phase) for phase in ("warmup", "sample"))
        draws, before = int(sampling["num_samples"]), int(sampling["before"])
        taken = [
            before + (first if first < warmup else warmup + (draws if after == draws // thin else thin * after))
            for first, after in zip(warm, kept, strict=True)
        ]
        if any(int(state.head["draw"]) > count for state, count in zip(states, taken, strict=True)):
            raise _cannot(path, "draws before the states of its chains were lost, as in a power cut")
        return cls(
            store,
            before,
            warmup,
            tuple(store.groups("sample")["posterior"]),
            thin,
            Adaptation(sampling["metric"], warmup),
            draws,
            sampling["identity"],
            states,
            taken,
            tuple(note["coordinates"]),
        )

    def check(self, compiled: Any) -> None:
        """Raise SamplingError unless it is a run of this density."""
        check_names(compiled, self.coordinates)
        for k, state in enumerate(self.states):
            check_value(compiled, k, state.point, float(state.head["value"]))


def identity(compiled: Any, sweeps: Sweeps | None = None) -> str:
    """What the bits of draws depend on, besides seed and settings: the density's code, the kernels', and the machine."""
    code = getattr(compiled, "source", "") if compiled.engine == "native" else f"torch {torch.__version__}"
    parts = (compiled.engine, code, native.source(), machine(), *(() if sweeps is None else (sweeps.source,)))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _cannot(path: str | os.PathLike[str], why: str) -> StorageError:
    return StorageError(
        f"{os.fspath(path)!r} cannot be resumed: {why}. `mcmc.extend(Posterior.load({os.fspath(path)!r}), …)` continues from "
        "its last draws instead, after a short warm-up."
    )
