"""`Case`: one reference posterior, and how it is sampled here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import sursum as su

WARMUP = 1500

DATA = Path(__file__).parent / "data"

Data = Mapping[str, Tensor]
"""The arrays of a posterior's data, all float64."""


@dataclass(frozen=True)
class Case:
    """A reference posterior: its name, the lifted program, and the program's arguments as functions of the data.

    Its sites have the names of the reference's parameters. `draws` is per chain.
    """

    name: str
    lifted: Callable[..., Any]
    arguments: Callable[[Data], tuple[Any, ...]]
    target_accept: float = 0.8
    draws: int = 2500

    def load(self) -> dict[str, Any]:
        """The file: source, model in mathematics, parameters, reference figures and data."""
        found: dict[str, Any] = json.loads((DATA / f"{self.name}.json").read_text())
        return found

    def called_with(self) -> tuple[Any, ...]:
        """What the lifted program is called with."""
        data = self.load()["data"]
        return self.arguments({name: torch.as_tensor(value, dtype=torch.float64) for name, value in data.items()})

    def sample(self, seed: int, draws: int | None = None) -> su.Posterior:
        """Four chains of NUTS on the native engine."""
        kernel = su.infer.NUTS(self.lifted, target_accept=self.target_accept)
        draws = draws or self.draws
        mcmc = su.infer.MCMC(
            kernel, num_warmup=WARMUP, num_samples=draws, num_chains=4, seed=seed, engine="native", progress=False
        )
        return mcmc.run(*self.called_with())
