"""Whether a run agrees with a reference posterior: five z-scores a scalar, and a second run before a posterior disagrees.

For one scalar let m, s be the run's mean and sd, se and se_s their Monte-Carlo standard errors, and M, S, SE, SE_s, ESS the
reference's; e is an effective sample size. The scores are

.. math:: \\frac{m - M}{\\sqrt{se^2 + SE^2}}, \\qquad
          \\frac{\\log(s / S)}{\\sqrt{(se_s / s)^2 + (SE_s / S)^2}}, \\qquad
          \\frac{h_p - p}{\\sqrt{p (1 - p) (1 / e + 1 / ESS)}},

the last for p = 0.05, 0.5, 0.95, with h_p the share of draws at or below the reference's quantile. All effective sample sizes
are those that belong to a mean: over split chains, without rank normalisation.

The bound is Bonferroni's, :math:`\\Phi^{-1}(1 - 0.01 / (2 n))` for n scores judged together: it holds however the scores depend
on each other. Chance does not come back in a second run of four times the draws; a bias does.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

R_HAT, ESS, SD_ERROR, DIVERGENT = 1.01, 2000.0, 0.04, 0.01
QUANTILES = {"q5": 0.05, "q50": 0.5, "q95": 0.95}

Row = Mapping[str, float]
Draws = np.ndarray


@dataclass(frozen=True)
class Judgement:
    """What a run's scalars say: `scores` by (scalar, figure), and what makes the run unfit to be judged."""

    scores: dict[tuple[str, str], float]
    unfit: tuple[str, ...]
    r_hat: float
    ess: float
    divergent: float

    @property
    def worst(self) -> tuple[tuple[str, str], float]:
        """The greatest of the scores in size, and whose it is."""
        at = max(self.scores, key=lambda key: abs(self.scores[key]))
        return at, self.scores[at]


def judge(draws: Mapping[str, Draws], reference: Mapping[str, Row], divergent: float) -> Judgement:
    """A run's draws, (chain, draw) by scalar, beside the reference's rows; `divergent` is the share of divergent draws."""
    if draws.keys() != reference.keys():
        raise ValueError(f"the run has {sorted(draws)}, the reference {sorted(reference)}")
    scores, unfit, sizes, r_hats = {}, [], [], []
    for name, row in reference.items():
        found, ess, r_hat, sd_error = _scores(draws[name], row)
        scores |= {(name, key): z for key, z in found.items()}
        sizes.append(ess)
        r_hats.append(r_hat)
        if not r_hat <= R_HAT:
            unfit.append(f"R-hat of {name} is {r_hat:.4f}")
        if not ess >= ESS:
            unfit.append(f"ESS of {name} is {ess:.0f}")
        if not sd_error <= SD_ERROR:
            unfit.append(f"the sd of {name} is known to {sd_error:.1%} only")
    if not divergent <= DIVERGENT:
        unfit.append(f"{divergent:.1%} of the draws are divergent")
    return Judgement(scores, tuple(unfit), max(r_hats), min(sizes), divergent)


def bound(count: int) -> float:
    """The bound on |z| that `count` scores of a correct run exceed once in a hundred judgements, at most.

    Example:
        >>> round(bound(335), 2), round(bound(20), 2)
        (4.17, 3.48)
    """
    return float(norm.ppf(1 - 0.01 / (2 * count)))


def scalars(posterior: Any, parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Draws]:
    """The draws of a reference's parameters under the reference's names: `beta[0]`, `A[0,1]`, `tau`."""
    return dict(_scalars(posterior, parameters))


def _scalars(posterior: Any, parameters: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Draws]]:
    for name, parameter in parameters.items():
        draws, shape = posterior[name].numpy(), tuple(parameter["shape"])
        if draws.shape[2:] != shape:
            raise ValueError(f"{name} has shape {draws.shape[2:]}, and {shape} in the reference")
        for index in np.ndindex(shape):
            yield (f"{name}[{','.join(map(str, index))}]" if index else name), draws[(..., *index)]


def _scores(draws: Draws, row: Row) -> tuple[dict[str, float], float, float, float]:
    """The five scores of one scalar, its effective sample size and R-hat, and the relative error of its sd."""
    mean, sd = draws.mean(), draws.std(ddof=1)
    ess = _size(draws)
    se = sd / np.sqrt(ess)
    # The standard error of the sd comes from the squared deviations, so that it is right for heavy tails too.
    squares = (draws - mean) ** 2
    se_s = squares.std(ddof=1) / np.sqrt(_size(squares)) / (2 * sd)
    found = {
        "mean": (mean - row["mean"]) / np.hypot(se, row["mcse_mean"]),
        "sd": np.log(sd / row["sd"]) / np.hypot(se_s / sd, row["mcse_sd"] / row["sd"]),
    }
    for key, p in QUANTILES.items():
        below = (draws <= row[key]).astype(float)
        found[key] = (below.mean() - p) / np.sqrt(p * (1 - p) * (1 / _size(below) + 1 / row["ess"]))
    return {key: float(z) for key, z in found.items()}, ess, float(_arviz().rhat(draws)), float(se_s / sd)


def _size(draws: Draws) -> float:
    """The effective sample size that belongs to the mean of draws, (chain, draw)."""
    return float(_arviz().ess(draws, method="mean"))


def _arviz() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz
