"""`PriorPredictive`: what a program expects before it sees the data, and whether that is absurd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Binomial, Geometric

from sursum.common.precision import in_double, widen
from sursum.common.tables import Table
from sursum.core.calling import Program, run_program
from sursum.distributions.fluent import Independent
from sursum.distributions.randomness import drawing_from
from sursum.errors import PredictionError
from sursum.handlers import trace
from sursum.predict.at_draw import AtDraw
from sursum.predict.vectorise import Draw, at_draws

NEAR = 0.01
"""A probability so near to 0 or 1 is decided before any data are seen."""

MANY = 0.9
"""The share of such probabilities, and of values that are not numbers, that is absurd."""

WIDE = 100.0
"""How many times the spread of the data is absurd."""

_PROBABILITY = " is 1"


@dataclass(frozen=True)
class Expected:
    """What the prior predicts for one observed site: over draws and elements together.

    `data_mean` and `data_sd` are of the data, None where there are none; `decided` is the share of probabilities within 0.01 of
    0 or 1, None where the site has none; `undefined` that of predictions that are infinite or NaN.
    """

    mean: float
    sd: float
    low: float
    high: float
    data_mean: float | None
    data_sd: float | None
    decided: float | None
    undefined: float


@dataclass(frozen=True, repr=False)
class PriorPredictive:
    """Predictions from the prior, by observed site: a table to print, or to read as `sites`; `warnings` says what is absurd."""

    sites: Mapping[str, Expected]

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(text for name, site in self.sites.items() for text in _doubts(name, site))

    def __str__(self) -> str:
        rows = [("site", "mean", "sd", "5 %", "95 %", "mean of data", "sd of data")]
        for name, site in self.sites.items():
            numbers = (site.mean, site.sd, site.low, site.high, site.data_mean, site.data_sd)
            rows.append((name, *("" if one is None else f"{one:.3g}" for one in numbers)))  # type: ignore[arg-type]
        return "\n\n".join([str(Table(rows)), *self.warnings])

    __repr__ = __str__


def expect(program: Program, num_samples: int = 500, seed: int = 0) -> PriorPredictive:
    """Draw the observed sites from the prior.

    Raises:
        PredictionError: the program observes nothing.
    """
    with drawing_from(torch.Generator().manual_seed(seed)), trace() as recorder:
        run_program(program.model, program.args, program.kwargs)
    data = {name: torch.as_tensor(site.value) for name, site in recorder.trace.observed.items()}
    if not data:
        raise PredictionError("the program observes nothing with these arguments. Call it with its data.")

    def run(values: Mapping[str, Tensor], draw: Draw) -> dict[str, Tensor]:
        with in_double(), AtDraw(values=values, draw=draw, replicate=True), trace() as recorder:
            run_program(program.model, program.args, program.kwargs)
        sites = {name: recorder.trace[name] for name in data}
        found = {name: widen(torch.as_tensor(site.value)).double() for name, site in sites.items()}
        probabilities = {name: _probability(getattr(site, "fn", None)) for name, site in sites.items()}
        return found | {name + _PROBABILITY: p.double() for name, p in probabilities.items() if p is not None}

    draws = at_draws(run, {}, num_samples, seed=(seed,))
    return PriorPredictive({name: _summary(draws[name], data[name], draws.get(name + _PROBABILITY)) for name in data})


def _probability(fn: Any) -> Tensor | None:
    """The probability of a distribution of yes and no, if it is one."""
    while isinstance(fn, Independent):
        fn = fn.base_dist
    return fn.probs if isinstance(fn, (Bernoulli, Binomial, Geometric)) else None


def _summary(draws: Tensor, data: Tensor, probability: Tensor | None) -> Expected:
    finite = torch.isfinite(draws)
    values = draws[finite] if bool(finite.any()) else torch.full((1,), torch.nan, dtype=torch.float64)
    # Quantiles of at most some millions of values, evenly spaced.
    low, high = values[:: max(1, len(values) // 2**20)].quantile(torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
    known = data.double()[~data.double().isnan()] if data.numel() else None
    decided = None
    if probability is not None:
        decided = float(((probability < NEAR) | (probability > 1 - NEAR)).double().mean())
    return Expected(
        mean=float(values.mean()),
        sd=float(values.std(correction=0)),
        low=low,
        high=high,
        data_mean=None if known is None else float(known.mean()),
        data_sd=None if known is None else float(known.std(correction=0)),
        decided=decided,
        undefined=float((~finite).double().mean()),
    )


def _doubts(name: str, site: Expected) -> list[str]:
    found = []
    if site.decided is not None and site.decided >= MANY:
        found.append(
            f"{100 * site.decided:.0f} % of the probabilities of {name!r} are within {NEAR} of 0 or 1 before any data "
            "are seen. The priors are too wide: give the coefficients smaller scales."
        )
    if site.undefined > 1 - MANY:
        found.append(
            f"{100 * site.undefined:.0f} % of the predictions of {name!r} are infinite or NaN: the priors reach values at "
            "which the program overflows. Give them smaller scales."
        )
    if site.data_sd and site.sd > WIDE * site.data_sd:
        found.append(
            f"The predictions of {name!r} spread {site.sd / site.data_sd:,.0f} times as wide as the data: the priors allow "
            "what nobody expects. Give them smaller scales."
        )
    return found
