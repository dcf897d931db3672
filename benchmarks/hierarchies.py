r"""Hierarchies with their data, as written: every site that depends on others is centred.

Ten are programs of posteriordb, under its own names, with its priors:

- ``eight_schools-eight_schools_centered``.
- ``radon_mn-radon_…_centered``: ``partially_pooled``, ``hierarchical_intercept``, ``variable_intercept``,
  ``variable_slope``, ``variable_intercept_slope``. 919 houses, 85 counties.
- ``seeds_data-seeds_stanified_model``: 21 plates of seeds, by kind of seed and of root extract.
- ``surgical_data-surgical_model``: 12 hospitals.
- ``rats_data-rats_model``: 30 rats, weighed at five ages; flat priors of all three scales.
- ``lsat_data-lsat_model``: 1,000 students, five questions. There it is written with standardised abilities, which leaves
  nothing to choose: :math:`\theta \sim N(0, 1)`, logits :math:`\beta\theta - \alpha`. Here the abilities are
  :math:`\beta\theta \sim N(0, \beta)`, the same model.

The others are what these do not have: data that determine every element, or some and not others; none at all; a site that is
the image of a family; a site in time.

Data: Rubin (1981), Gelman & Hill (2007), Efron & Morris (1975), Gelfand, Hills, Racine-Poon & Smith (1990), Bock & Lieberman
(1970), and of the BUGS examples seeds, surgical, pumps and dyes.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from benchmarks.models import SURVEY
from sursum.distributions import constraints

LSAT = Path(__file__).parent.parent / "examples" / "data" / "lsat.csv"


def _double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def normal_groups(y: Tensor, sd: Tensor) -> None:
    mu, tau = su.sample("mu", dist.Normal(0.0, 5.0)), su.sample("tau", dist.HalfCauchy(5.0))
    with su.plate("groups", len(y)):
        su.sample("y", dist.Normal(su.sample("theta", dist.Normal(mu, tau)), sd), obs=y)


def funnel() -> None:
    v = su.sample("v", dist.Normal(0.0, 3.0))
    with su.plate("elements", 9):
        su.sample("x", dist.Normal(0.0, (v / 2).exp()))


def radon(county: Tensor, y: Tensor, floor: Tensor | None, uranium: Tensor | None, intercepts: bool, slopes: bool) -> None:
    """Log radon in houses; intercepts, slopes or both differ between counties."""
    sigma = su.sample("sigma", dist.HalfNormal(1.0))
    mean: Any = 0.0
    for name, on, vary in (("a", None, intercepts), ("b", floor, slopes), ("c", uranium, False)):
        if name != "a" and on is None:
            continue
        mu = su.sample(f"mu_{name}" if vary else name, dist.Normal(0.0, 10.0))
        if vary:
            spread = su.sample(f"sigma_{name}", dist.HalfNormal(1.0))
            with su.plate("county", 85):
                mu = su.sample(name, dist.Normal(mu, spread))[county]
        mean = mean + (mu if on is None else mu * on)
    with su.plate("house", len(y)):
        su.sample("y", dist.Normal(mean, sigma), obs=y)


def trials(hits: Tensor, of: Tensor, spread: float) -> None:
    mu, tau = su.sample("mu", dist.Normal(0.0, 2.0)), su.sample("tau", dist.HalfNormal(spread))
    with su.plate("groups", len(hits)):
        alpha = su.sample("alpha", dist.Normal(mu, tau))
        su.sample("hits", dist.Binomial(of, logits=alpha), obs=hits)


def seeds(germinated: Tensor, of: Tensor, kind: Tensor, root: Tensor) -> None:
    names = ("alpha0", "alpha1", "alpha2", "alpha12")
    coefficients = [su.sample(name, dist.Normal(0.0, 1.0)) for name in names]
    fixed = sum(a * x for a, x in zip(coefficients, (torch.ones_like(kind), kind, root, kind * root), strict=True))
    sigma = su.sample("sigma", dist.HalfCauchy(1.0))
    with su.plate("plates", len(of)):
        b = su.sample("b", dist.Normal(0.0, sigma))
        su.sample("germinated", dist.Binomial(of, logits=fixed + b), obs=germinated)


def surgical(deaths: Tensor, of: Tensor) -> None:
    mu = su.sample("mu", dist.Normal(0.0, 1000.0))
    sigma = su.sample("sigmasq", dist.InverseGamma(0.001, 0.001)).sqrt()
    with su.plate("hospitals", len(of)):
        b = su.sample("b", dist.Normal(mu, sigma))
        su.sample("deaths", dist.Binomial(of, logits=b), obs=deaths)


def rats(weight: Tensor, age: Tensor) -> None:
    """Lines of growth; ages are centred."""
    scale = dist.ImproperUniform(constraints.positive)
    mu_alpha, mu_beta = su.sample("mu_alpha", dist.Normal(0.0, 100.0)), su.sample("mu_beta", dist.Normal(0.0, 100.0))
    sigma, sigma_alpha, sigma_beta = (su.sample(name, scale) for name in ("sigma", "sigma_alpha", "sigma_beta"))
    with su.plate("rats", len(weight)):
        alpha, beta = (
            su.sample("alpha", dist.Normal(mu_alpha, sigma_alpha)),
            su.sample("beta", dist.Normal(mu_beta, sigma_beta)),
        )
        with su.plate("ages", len(age), dim=-2):
            su.sample("weight", dist.Normal(alpha + beta * (age - age.mean())[:, None], sigma), obs=weight.T)


def lsat(right: Tensor) -> None:
    alpha = su.sample("alpha", dist.Normal(0.0, 100.0).expand([5]).to_event(1))
    beta = su.sample("beta", dist.HalfNormal(100.0))
    with su.plate("students", right.shape[1]):
        ability = su.sample("ability", dist.Normal(0.0, beta))
        with su.plate("questions", 5, dim=-2):
            su.sample("right", dist.Bernoulli(logits=ability - alpha[:, None]), obs=right)


def pumps(failures: Tensor, hours: Tensor) -> None:
    mu, tau = su.sample("mu", dist.Normal(0.0, 2.0)), su.sample("tau", dist.HalfNormal(2.0))
    with su.plate("pumps", len(failures)):
        su.sample("failures", dist.Poisson(su.sample("rate", dist.LogNormal(mu, tau)) * hours), obs=failures)


def dyes(grams: Tensor) -> None:
    mean = su.sample("mean", dist.Normal(1500.0, 200.0))
    between, within = su.sample("between", dist.HalfNormal(100.0)), su.sample("within", dist.HalfNormal(100.0))
    with su.plate("batch", 6):
        level = su.sample("level", dist.Normal(mean, between))
        with su.plate("sample", 5, dim=-2):
            su.sample("grams", dist.Normal(level, within), obs=grams)


def local_level(y: Tensor) -> None:
    spread, noise = su.sample("spread", dist.HalfNormal(1.0)), su.sample("noise", dist.HalfNormal(1.0))

    def step(x: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        x = su.sample("x", dist.Normal(x, spread))
        su.sample("y", dist.Normal(x, noise), obs=value)
        return x, x

    su.scan(step, torch.tensor(0.0, dtype=torch.float64), y)


EFFECTS = _double(28, 8, -3, 7, -1, 1, 18, 12)
ERRORS = _double(15, 10, 16, 11, 9, 11, 10, 18)
HITS = _double(18, 17, 16, 15, 14, 14, 13, 12, 11, 11, 10, 10, 10, 10, 10, 9, 8, 7)
GERMINATED = _double(10, 23, 23, 26, 17, 5, 53, 55, 32, 46, 10, 8, 10, 8, 23, 0, 3, 22, 15, 32, 3)
SOWN = _double(39, 62, 81, 51, 39, 6, 74, 72, 51, 79, 13, 16, 30, 28, 45, 4, 12, 41, 30, 51, 7)
SECOND_KIND = _double(*([0] * 11 + [1] * 10))
SECOND_ROOT = _double(*([0] * 5 + [1] * 6 + [0] * 5 + [1] * 5))
DEATHS = _double(0, 18, 8, 46, 8, 13, 9, 31, 14, 8, 29, 24)
OPERATIONS = _double(47, 148, 119, 810, 211, 196, 148, 215, 207, 97, 256, 360)
AGE = _double(8, 15, 22, 29, 36)
WEIGHT = _double(
    *(
        151,
        199,
        246,
        283,
        320,
        145,
        199,
        249,
        293,
        354,
        147,
        214,
        263,
        312,
        328,
        155,
        200,
        237,
        272,
        297,
        135,
        188,
        230,
        280,
        323,
    ),
    *(
        159,
        210,
        252,
        298,
        331,
        141,
        189,
        231,
        275,
        305,
        159,
        201,
        248,
        297,
        338,
        177,
        236,
        285,
        350,
        376,
        134,
        182,
        220,
        260,
        296,
    ),
    *(
        160,
        208,
        261,
        313,
        352,
        143,
        188,
        220,
        273,
        314,
        154,
        200,
        244,
        289,
        325,
        171,
        221,
        270,
        326,
        358,
        163,
        216,
        242,
        281,
        312,
    ),
    *(
        160,
        207,
        248,
        288,
        324,
        142,
        187,
        234,
        280,
        316,
        156,
        203,
        243,
        283,
        317,
        157,
        212,
        259,
        307,
        336,
        152,
        203,
        246,
        286,
        321,
    ),
    *(
        154,
        205,
        253,
        298,
        334,
        139,
        190,
        225,
        267,
        302,
        146,
        191,
        229,
        272,
        302,
        157,
        211,
        250,
        285,
        323,
        132,
        185,
        237,
        286,
        331,
    ),
    *(
        160,
        207,
        257,
        303,
        345,
        169,
        216,
        261,
        295,
        333,
        157,
        205,
        248,
        289,
        316,
        137,
        180,
        219,
        258,
        291,
        153,
        200,
        244,
        286,
        324,
    ),
).reshape(30, 5)
FAILURES = _double(5, 1, 5, 14, 3, 19, 1, 1, 4, 22)
HOURS = _double(94.3, 15.7, 62.9, 126, 5.24, 31.4, 1.05, 1.05, 2.1, 10.5)
GRAMS = _double(
    *(1545, 1440, 1440, 1520, 1580, 1540, 1555, 1490, 1560, 1495, 1595, 1550, 1605, 1510, 1560),
    *(1445, 1440, 1595, 1465, 1545, 1595, 1630, 1515, 1635, 1625, 1520, 1455, 1450, 1480, 1445),
).reshape(6, 5)

Hierarchy = tuple[Callable[..., Any], tuple[Any, ...]]
"""A program and its arguments."""


def _radon(*, floor: bool = True, uranium: bool = False, intercepts: bool = False, slopes: bool = False) -> Hierarchy:
    with SURVEY.open() as file:
        rows = list(csv.DictReader(file))
    county = torch.tensor([int(row["county"]) - 1 for row in rows])
    columns = {name: _double(*(float(row[name]) for row in rows)) for name in ("log_radon", "floor", "log_uranium")}
    predictors = columns["floor"] if floor else None, columns["log_uranium"] if uranium else None
    return radon, (county, columns["log_radon"], *predictors, intercepts, slopes)


def _answers() -> Tensor:
    """Right answers, (questions, students)."""
    with LSAT.open() as file:
        rows = [([int(digit) for digit in row["answers"]], int(row["students"])) for row in csv.DictReader(file)]
    return _double(*(answer for answers, students in rows for _ in range(students) for answer in answers)).reshape(-1, 5).T


def _walk() -> Tensor:
    rng = np.random.default_rng(5)
    return torch.from_numpy(np.cumsum(0.3 * rng.normal(size=100)) + rng.normal(size=100))


POSTERIORDB: dict[str, Callable[[], Hierarchy]] = {
    "eight_schools-eight_schools_centered": lambda: (normal_groups, (EFFECTS, ERRORS)),
    "radon_mn-radon_partially_pooled_centered": lambda: _radon(floor=False, intercepts=True),
    "radon_mn-radon_hierarchical_intercept_centered": lambda: _radon(uranium=True, intercepts=True),
    "radon_mn-radon_variable_intercept_centered": lambda: _radon(intercepts=True),
    "radon_mn-radon_variable_slope_centered": lambda: _radon(slopes=True),
    "radon_mn-radon_variable_intercept_slope_centered": lambda: _radon(intercepts=True, slopes=True),
    "seeds_data-seeds_stanified_model": lambda: (seeds, (GERMINATED, SOWN, SECOND_KIND, SECOND_ROOT)),
    "surgical_data-surgical_model": lambda: (surgical, (DEATHS, OPERATIONS)),
    "rats_data-rats_model": lambda: (rats, (WEIGHT, AGE)),
    "lsat_data-lsat_model": lambda: (lsat, (_answers(),)),
}
"""Programs of posteriordb, by its names."""

HIERARCHIES: dict[str, Callable[[], Hierarchy]] = POSTERIORDB | {
    "precise": lambda: (normal_groups, (EFFECTS, ERRORS / 20)),
    "uneven": lambda: (normal_groups, (torch.linspace(-8, 8, 30).double(), torch.logspace(-1.5, 1.5, 30).double())),
    "funnel": lambda: (funnel, ()),
    "baseball": lambda: (trials, (HITS, torch.full((18,), 45.0), 1.0)),
    "pumps": lambda: (pumps, (FAILURES, HOURS)),
    "dyes": lambda: (dyes, (GRAMS.T,)),
    "local_level": lambda: (local_level, (_walk(),)),
}
