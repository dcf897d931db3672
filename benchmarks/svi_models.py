r"""The models of the SVI benchmark: their data, and how long they are run.

Eight schools and radon are those of `models.py`. Logistic regression: :math:`w \sim N(0, 1)` for 25 coefficients,
:math:`y_i \sim \mathrm{Bernoulli}(\sigma(x_i \cdot w))`, 1,000 rows. The network is that of `models.py`,
10–50–1 with tanh and 200 rows, N(0, 1) on its 601 weights, its noise known, N(0, 0.2).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import models

NAMES = ("eight_schools", "radon", "logistic", "network")
GUIDES = ("AutoNormal", "AutoMultivariateNormal")
RATE, SCALE = 0.01, 0.1
STEPS = 10_000
#: The loss is compared after a longer run, in which the learning rate falls a hundredfold and the noise of the steps with it.
LONG, TAIL = 20_000, 2_000
#: Runs of that length, from as many seeds: the network's loss has many optima, and they show how far these lie apart.
SEEDS = {"network": 5}
#: Draws by which a loss is estimated at parameters that are held.
DRAWS = 20_000


def rate(step: float) -> float:
    """The learning rate at a step of the longer run."""
    return RATE * 0.01 ** (step / LONG)


def data(name: str) -> tuple[np.ndarray, ...]:
    """What the model of that name is called with."""
    if name == "eight_schools":
        return models.ERROR, models.EFFECT
    if name == "radon":
        return tuple(models.survey().values())
    rng = np.random.default_rng(0)
    if name == "logistic":
        x = rng.normal(size=(1000, 25))
        chance = 1 / (1 + np.exp(-x @ rng.normal(size=25) / 2))
        return x, (rng.uniform(size=1000) < chance).astype(float)
    return tuple(models.surface().values())


def options(description: str | None) -> argparse.ArgumentParser:
    """The options that every side understands."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", choices=NAMES)
    parser.add_argument("guide", choices=GUIDES)
    parser.add_argument("--keep", type=Path, help="where the guide at the end of the longer run is written")
    parser.add_argument("--at", type=Path, help="only the loss at the guide in this file, of any side")
    return parser


@dataclass(frozen=True)
class Normal:
    """A fitted guide without the names of either library: normal in unconstrained coordinates, (n,) and (n, n).

    `sizes` says how many coordinates each site has, in the order in which they come.
    """

    sizes: Mapping[str, int]
    loc: np.ndarray
    factor: np.ndarray

    def write(self, path: Path) -> None:
        """To a file, for the other side."""
        np.savez(path, names=list(self.sizes), sizes=list(self.sizes.values()), loc=self.loc, factor=self.factor)

    @staticmethod
    def read(path: Path, order: Sequence[str]) -> Normal:
        """From a file, the sites in the order of this side."""
        with np.load(path) as file:
            sizes = dict(zip(file["names"].tolist(), file["sizes"].tolist(), strict=True))
            loc, factor = file["loc"], file["factor"]
        assert sorted(sizes) == sorted(order), (sizes, order)
        starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
        rows = np.concatenate([starts[name] + np.arange(sizes[name]) for name in order])
        moved = factor[rows]
        return Normal({name: sizes[name] for name in order}, loc[rows], np.linalg.cholesky(moved @ moved.T))

    def parts(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The means and standard deviations of each site, for a guide of independent coordinates."""
        ends = np.cumsum(list(self.sizes.values()))
        scale = np.diag(self.factor)
        return {
            name: (self.loc[end - size : end], scale[end - size : end])
            for (name, size), end in zip(self.sizes.items(), ends, strict=True)
        }


def estimate(losses: np.ndarray) -> dict[str, float]:
    """Mean and standard error of independent estimates."""
    return {"loss": float(losses.mean()), "error": float(losses.std(ddof=1) / len(losses) ** 0.5)}
