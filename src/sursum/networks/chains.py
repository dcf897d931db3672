"""Chains of stochastic-gradient dynamics that take their steps together: where they are, and what they have drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.networks.dynamics import Dynamics
from sursum.networks.preconditioner import Preconditioner
from sursum.networks.target import Target
from sursum.training.checkpoint import State
from sursum.training.loader import own_generators

_LOOKED = 25
"""Steps between checks of the point."""


class Chains:
    """Some chains, at their start, or where an earlier process has left them.

    Args:
        streams: the seed of each chain.
        num_samples: how many draws of each chain will be kept.
        jitter: the width of the uniform numbers that are added to the start.
        at_once: whether their gradients are evaluated in one pass.
        taken: how many batches they have taken in an earlier process.
    """

    def __init__(
        self,
        target: Target,
        dynamics: Dynamics,
        streams: Sequence[int],
        *,
        num_samples: int,
        jitter: float,
        at_once: bool,
        taken: int = 0,
    ) -> None:
        self.target, self.dynamics, self.at_once = target, dynamics, at_once
        self.steps, self.drawn = 0, 0
        q = self.q = target.coordinates.vector().repeat(len(streams), 1)
        self._options: Any = {"dtype": q.dtype, "device": q.device}
        self._generators = [torch.Generator(q.device).manual_seed(stream % 2**63) for stream in streams]
        if jitter:
            rows = [torch.rand(q.shape[1:], generator=generator, **self._options) for generator in self._generators]
            q += (2.0 * torch.stack(rows) - 1.0) * jitter
        self._scale, self._momentum = Preconditioner(), dynamics.begin(q, self._normal)
        self._kept = q.new_empty(len(q), num_samples, q.shape[1])
        self._values = torch.empty(len(q), num_samples, dtype=torch.float64)
        self._buffers: list[list[dict[str, Tensor]]] = [[] for _ in streams]  # of each draw
        again = bool(own_generators(target.loader))  # what these give depends on all that they have given, to all chains
        self._chains = [target.chain(stream, 0 if again else taken) for stream in streams]
        for _ in range(taken if again else 0):
            for chain in self._chains:
                chain.take()

    @property
    def draws(self) -> Tensor:
        """The draws, (chain, draw, n)."""
        return self._kept

    @property
    def values(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The estimates of the log density at the draws, (chain, draw)."""
        return self._values.numpy()

    @property
    def buffers(self) -> list[list[dict[str, Tensor]]]:
        """What layers in training mode had written, by chain and draw."""
        return self._buffers

    def step(self, h: float, *, noisy: bool, warming: bool, place: int | None) -> None:
        """Take a step of size h.

        Args:
            noisy: whether with noise.
            warming: whether the preconditioner is still being found.
            place: the number of the draw that it ends in, if it does.

        Raises:
            SamplingError: a chain left the numbers.
        """
        target, q = self.target, self.q
        value, gradient = target.at_points(q, self._chains, self.steps, at_once=self.at_once)
        if self.dynamics.precondition and warming:
            self._scale.see(gradient)
        self.dynamics.move(q, gradient, self._scale.root, self._momentum, h, self._normal if noisy else None)
        if self.steps % _LOOKED == 0 or place is not None:
            if not self.at_once:
                target.agree(q[0])
            target.check_finite(q)
        if place is not None:
            self._kept[:, place], self._values[:, place] = q, value
            for rows, chain in zip(self._buffers, self._chains, strict=True):
                rows.append({name: kept.clone() for name, kept in chain.buffers.items()})
            self.drawn = place + 1
        self.steps += 1

    def state(self) -> State:
        """All that they need to go on, and their draws."""
        momentum, scale = self._momentum, self._scale
        tensors = {"q": self.q, "velocity": momentum.velocity, "friction": momentum.friction}
        if scale.average is not None and isinstance(scale.root, Tensor):
            tensors |= {"average": scale.average, "root": scale.root}
        tensors |= {"kept": self._kept[:, : self.drawn], "values": self._values[:, : self.drawn]}
        for k, (generator, chain, rows) in enumerate(zip(self._generators, self._chains, self._buffers, strict=True)):
            tensors[f"{k}/generator"] = generator.get_state()
            tensors |= {f"{k}/buffer/{name}": value for name, value in chain.buffers.items()}
            if rows:
                tensors |= {f"{k}/drawn/{name}": torch.stack([row[name] for row in rows]) for name in rows[0]}
        return State({"steps": self.steps, "drawn": self.drawn}, tensors)

    def restore(self, state: State) -> None:
        """Go on from an earlier `state`.

        Raises:
            ValueError, KeyError: it is that of other chains.
        """
        saved, momentum = state.tensors, self._momentum
        self.steps, self.drawn = int(state.note["steps"]), int(state.note["drawn"])
        for now, name in (
            (self.q, "q"),
            (momentum.velocity, "velocity"),
            (momentum.friction, "friction"),
            (self._kept[:, : self.drawn], "kept"),
            (self._values[:, : self.drawn], "values"),
        ):
            _write(now, saved[name])
        if "average" in saved:
            self._scale.average, self._scale.root = saved["average"].to(self.q.device), saved["root"].to(self.q.device)
        for k, (generator, chain) in enumerate(zip(self._generators, self._chains, strict=True)):
            generator.set_state(saved[f"{k}/generator"])
            rows = state.within(f"{k}/drawn/")
            for name, value in chain.buffers.items():
                _write(value, saved[f"{k}/buffer/{name}"])
            self._buffers[k] = [
                {name: rows[name][i].to(value.device) for name, value in chain.buffers.items()} for i in range(self.drawn)
            ]

    def _normal(self, like: Tensor) -> Tensor:
        rows = [torch.randn(like.shape[1:], generator=generator, **self._options) for generator in self._generators]
        return rows[0][None] if len(rows) == 1 else torch.stack(rows)


def _write(now: Tensor, saved: Tensor) -> None:
    """Write a saved tensor into one of this run.

    Raises:
        ValueError: it has another shape or dtype.
    """
    if (now.shape, now.dtype) != (saved.shape, saved.dtype):
        raise ValueError(
            f"{saved.dtype} of shape {tuple(saved.shape)} was saved, where here is {now.dtype} of {tuple(now.shape)}"
        )
    now.copy_(saved)
