r"""The models of the benchmarks: their mathematics, written once for all systems, and their data.

**eight_schools**, non-centred (10 unknowns): :math:`\mu \sim N(0, 5)`, :math:`\tau \sim C^+(5)`, :math:`z_j \sim N(0, 1)`,
:math:`y_j \sim N(\mu + \tau z_j, \sigma_j)`.

**radon**, varying intercept and slope, non-centred (919 rows, 85 groups, 175 unknowns): :math:`\mu_a, \mu_b \sim N(0, 10)`,
:math:`\sigma_a, \sigma_b, \sigma \sim N^+(1)`, :math:`z^a_g, z^b_g \sim N(0, 1)`,
:math:`y_i \sim N(\mu_a + \sigma_a z^a_{g(i)} + (\mu_b + \sigma_b z^b_{g(i)})\, floor_i,\ \sigma)`.

**poisson**, group effects on counts, of radon's size (88 unknowns): :math:`\mu, b \sim N(0, 1)`, :math:`\sigma \sim N^+(1)`,
:math:`z_g \sim N(0, 1)`, :math:`y_i \sim \mathrm{Poisson}(\exp(\mu + \sigma z_{g(i)} + b\, floor_i))`.

**logistic_small** (1,000 × 25) and **logistic_large** (100,000 × 50): :math:`\alpha \sim N(0, 2.5)`,
:math:`\beta_k \sim N(0, 1)`, :math:`y_i \sim \mathrm{Bernoulli}(\mathrm{logit}^{-1}(\alpha + x_i^\top \beta))`.

**volatility**, T = 1,000 (1,003 unknowns): :math:`\mu \sim N(0, 2)`, :math:`\varphi \sim U(-1, 1)`, :math:`\sigma \sim N^+(1)`,
:math:`z_t \sim N(0, 1)`, :math:`h_1 = \mu + \sigma z_1 / \sqrt{1 - \varphi^2}`,
:math:`h_t = \mu + \varphi (h_{t-1} - \mu) + \sigma z_t`, :math:`y_t \sim N(0, e^{h_t / 2})`.

**markov**, a hidden Markov model, 3 states, 10 symbols, T = 500 (33 unknowns): transitions
:math:`\theta_k \sim \mathrm{Dirichlet}(1, 1, 1)`, emissions :math:`\phi_k \sim \mathrm{Dirichlet}(c_k)` with :math:`c_{ks} = 5`
where :math:`s \equiv k \pmod 3` and 1 elsewhere (which tells the states apart), a uniform first state, and :math:`p(y)` by the
forward algorithm :math:`a_t(k) = \log \phi_{k y_t} + \log \sum_j \exp(a_{t-1}(j) + \log \theta_{jk})`.

**gaussian_process**, n = 200 (3 unknowns): :math:`\alpha, \sigma \sim N^+(1)`, :math:`\rho \sim \mathrm{InvGamma}(5, 5)`,
:math:`y \sim N(0, K)`, :math:`K_{ij} = \alpha^2 e^{-(x_i - x_j)^2 / 2 \rho^2} + (\sigma^2 + 10^{-6}) \delta_{ij}`.

**network** 10–50–1, N = 200 (602 unknowns): every weight and bias :math:`\sim N(0, 1)`, :math:`\sigma \sim N^+(1)`,
:math:`f(x) = W_2 \tanh(W_1 x + b_1) + b_2`, :math:`y_i \sim N(f(x_i), \sigma)`.

**correlated**, varying effects with an LKJ correlation, on radon's data (176 unknowns): :math:`\mu_a, \mu_b \sim N(0, 10)`,
:math:`s_a, s_b, \sigma \sim N^+(1)`, :math:`L L^\top \sim \mathrm{LKJ}(2)`, :math:`z_g \sim N(0, I_2)`,
:math:`(a_g, b_g) = \mu + \mathrm{diag}(s)\, L z_g`, :math:`y_i \sim N(a_{g(i)} + b_{g(i)} floor_i,\ \sigma)`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

SURVEY = Path(__file__).parent.parent / "examples" / "data" / "radon_mn.csv"
GROUPS = 85
STATES, SYMBOLS, HIDDEN = 3, 10, 50

EFFECT = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERROR = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


@dataclass(frozen=True)
class Model:
    """A model's data, by name in the order in which every system's program takes them, and what is compared.

    `compared` are sites whose posterior means must agree between the systems, element by element.
    """

    data: Callable[[], Mapping[str, Array | Integers]]
    compared: tuple[str, ...]


def survey() -> dict[str, Array | Integers]:
    """County (0–84), floor and log radon of the 919 houses."""
    with SURVEY.open() as file:
        rows = list(csv.DictReader(file))
    county = np.array([int(row["county"]) - 1 for row in rows])
    floor = np.array([float(row["floor"]) for row in rows])
    return {"county": county, "floor": floor, "y": np.array([float(row["log_radon"]) for row in rows])}


def counts() -> dict[str, Array | Integers]:
    """Counts in the houses of the survey, simulated."""
    rng, houses = np.random.default_rng(3), survey()
    effect = 0.5 * rng.normal(size=GROUPS)
    rate = np.exp(1.0 + effect[houses["county"]] - 0.6 * houses["floor"])
    return {"county": houses["county"], "floor": houses["floor"], "y": rng.poisson(rate).astype(np.float64)}


def answers(rows: int, columns: int) -> dict[str, Array | Integers]:
    """Yes or no by a logistic regression, simulated."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(rows, columns))
    logits = 0.3 + x @ rng.normal(scale=1.0 / np.sqrt(columns), size=columns)
    return {"x": x, "y": (rng.uniform(size=rows) < 1.0 / (1.0 + np.exp(-logits))).astype(np.float64)}


def returns() -> dict[str, Array | Integers]:
    """Returns under a volatility that wanders, simulated."""
    rng = np.random.default_rng(5)
    h = np.empty(1000)
    h[0] = -1.0 + 0.25 / np.sqrt(1.0 - 0.95**2) * rng.normal()
    for t in range(1, 1000):
        h[t] = -1.0 + 0.95 * (h[t - 1] + 1.0) + 0.25 * rng.normal()
    return {"y": np.exp(0.5 * h) * rng.normal(size=1000)}


def symbols() -> dict[str, Array | Integers]:
    """500 symbols of a hidden Markov chain, simulated."""
    rng = np.random.default_rng(6)
    transition = np.full((STATES, STATES), 0.1) + 0.7 * np.eye(STATES)
    emission = concentration() / concentration().sum(axis=1, keepdims=True)
    state, found = 0, []
    for _ in range(500):
        state = int(rng.choice(STATES, p=transition[state]))
        found.append(int(rng.choice(SYMBOLS, p=emission[state])))
    return {"y": np.array(found)}


def concentration() -> Array:
    """The concentrations of the emissions' prior, (states, symbols)."""
    return np.where(np.arange(SYMBOLS) % STATES == np.arange(STATES)[:, None], 5.0, 1.0)


def curve() -> dict[str, Array | Integers]:
    """200 points of a wave with noise, simulated."""
    rng = np.random.default_rng(7)
    x = np.sort(rng.uniform(0.0, 10.0, size=200))
    return {"x": x, "y": np.sin(x) + 0.3 * rng.normal(size=200)}


def surface() -> dict[str, Array | Integers]:
    """200 points in ten dimensions, simulated."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(200, 10))
    return {"x": x, "y": np.tanh(x[:, 0]) - np.tanh(x[:, 1] + x[:, 2]) + 0.2 * rng.normal(size=200)}


MODELS: dict[str, Model] = {
    "eight_schools": Model(lambda: {"error": ERROR, "effect": EFFECT}, ("mu", "tau")),
    "radon": Model(survey, ("mu_a", "mu_b", "sigma_a", "sigma_b", "sigma")),
    "poisson": Model(counts, ("mu", "b", "sigma")),
    "logistic_small": Model(lambda: answers(1000, 25), ("alpha", "beta")),
    "logistic_large": Model(lambda: answers(100_000, 50), ("alpha", "beta")),
    "volatility": Model(returns, ("mu", "phi", "sigma")),
    "markov": Model(symbols, ("theta", "phi")),
    "gaussian_process": Model(curve, ("alpha", "rho", "sigma")),
    "network": Model(surface, ("sigma",)),
    "correlated": Model(survey, ("mu", "s", "sigma")),
}
