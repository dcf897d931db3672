r"""The models of the SVI benchmark: their data, and how long they are run.

Eight schools and radon are those of `models.py`. Logistic regression: :math:`w \sim N(0, 1)` for 25 coefficients,
:math:`y_i \sim \mathrm{Bernoulli}(\sigma(x_i \cdot w))`, 1,000 rows. The network has one input, 50 hidden units with tanh and
one output, priors N(0, 1) on its 151 weights, noise N(0, 0.1), 100 rows.
"""

from __future__ import annotations

import numpy as np

from benchmarks import models

NAMES = ("eight_schools", "radon", "logistic", "network")
GUIDES = ("AutoNormal", "AutoMultivariateNormal")
RATE, SCALE = 0.01, 0.1
STEPS = 10_000
#: The loss is compared after a longer run, in which the learning rate falls a hundredfold and the noise of the steps with it.
LONG, TAIL = 20_000, 2_000


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
    x = np.linspace(-2, 2, 100)
    return x[:, None], np.sin(2 * x) + 0.1 * rng.normal(size=100)
