"""Whether a run agrees with a reference posterior: five z-scores a scalar, as the references' own rule has it.

For one scalar let m, s be the run's mean and sd, se and se_s their Monte-Carlo standard errors, and M, S, SE, SE_s, ESS the
reference's. The scores are those of the mean, of log sd, and of the share of draws below each reference quantile.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

DATA = Path(__file__).parent / "data"


def load(name: str) -> dict[str, Any]:
    """A reference posterior by name."""
    found: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    return found


def scores(draws: np.ndarray, row: dict[str, float]) -> dict[str, float]:
    """The five z-scores of one scalar's draws, (chain, draw), and whether the run is fit to be judged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    mean, sd = draws.mean(), draws.std(ddof=1)
    ess = float(arviz.ess(draws, method="mean"))
    assert float(arviz.rhat(draws)) <= 1.01, "the chains have not mixed: run longer before judging"
    assert ess >= 2000, f"{ess:.0f} effective draws: run longer before judging"
    se = _mcse(draws)
    # The standard error of the sd from the effective sample size of squared deviations, right for heavy tails too.
    squares = (draws - mean) ** 2
    se_s = _mcse(squares) / (2 * sd)
    found = {
        "mean": (mean - row["mean"]) / np.hypot(se, row["mcse_mean"]),
        "sd": np.log(sd / row["sd"]) / np.hypot(se_s / sd, row["mcse_sd"] / row["sd"]),
    }
    for key, p in (("q5", 0.05), ("q50", 0.5), ("q95", 0.95)):
        below = (draws <= row[key]).astype(float)
        share = float(arviz.ess(below, method="mean"))
        found[key] = (below.mean() - p) / np.sqrt(p * (1 - p) * (1 / share + 1 / row["ess"]))
    return found


def _mcse(draws: np.ndarray) -> float:
    """The Monte-Carlo standard error of the mean: sd / √ess. (arviz.mcse gives an array where numba is installed.)"""
    import arviz

    return float(draws.std(ddof=1) / np.sqrt(arviz.ess(draws, method="mean")))


def bound(count: int) -> float:
    """The bound on |z| that `count` scores of a correct run exceed once in a hundred judgements (Bonferroni)."""
    return float(norm.ppf(1 - 0.01 / (2 * count)))
