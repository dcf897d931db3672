"""How well chains have mixed: rank-normalised R-hat, bulk and tail effective sample sizes, E-BFMI.

All of these are functions of the draws only. They take arrays of shape (chain, draw, *shape) and return one number per
element, for all elements at once: diagnosing a model with a thousand unknowns takes less time than sampling it.
The results equal ArviZ's (the tests compare them).

References:
    Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), Rank-normalization, folding, and localization: an improved
    R-hat for assessing convergence of MCMC, Bayesian Analysis 16, sections 3 and 4. Geyer (1992), Practical Markov
    chain Monte Carlo, Statistical Science 7, section 3.3. Betancourt (2016), arXiv:1604.00695.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.draws.measure import measure_by_name
from sursum.draws.measures import MIN_DRAWS

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mixing:
    """R-hat, bulk and tail effective sample size, each of the shape of one draw (float64).

    NaN where a number is undefined: fewer than four draws, draws that are NaN, and for R-hat a single chain
    or a quantity that never changes (whose effective sample sizes are the number of draws).
    """

    r_hat: Array
    ess_bulk: Array
    ess_tail: Array


def mixing(draws: NDArray[Any]) -> Mixing:
    r"""How well the chains in `draws` agree, and what they are worth.

    .. math:: \hat R = \sqrt{\frac{N - 1}{N} + \frac{B}{N W}}, \qquad
              \mathrm{ESS} = \frac{C N}{1 + 2 \sum_t \hat\rho_t}

    on the halves of the chains: R-hat and the bulk ESS on the normal scores of their ranks (R-hat is the larger of that
    and the one of the folded draws, |x − median|), the tail ESS as the smaller of those of the indicators of the 5 % and
    95 % quantiles.

    Args:
        draws: shape (chain, draw, *shape), any real or integer dtype.

    Returns:
        Three float64 arrays of shape `shape`.

    Example:
        >>> import numpy as np
        >>> from sursum.draws.ess_rhat import mixing
        >>> found = mixing(np.random.default_rng(0).normal(size=(4, 1000)))
        >>> bool(found.r_hat < 1.01), bool(found.ess_bulk > 3000)
        (True, True)
    """
    return mixing_by_name({"": draws})[""]


def mixing_by_name(sites: Mapping[str, NDArray[Any]]) -> dict[str, Mixing]:
    """The same for several sites of as many chains and draws: in blocks of bounded size, on all available cores.

    Args:
        sites: by name, each of shape (chain, draw, *shape).
    """
    return {name: Mixing(*found[:3]) for name, found in measure_by_name(sites).items()}


def e_bfmi(energy: NDArray[Any]) -> Array:
    r"""The estimated Bayesian fraction of missing information of each chain.

    .. math:: \mathrm{E\text{-}BFMI} = \frac{\frac{1}{N - 1}\sum_i (E_i - E_{i-1})^2}{\operatorname{Var} E}

    Small values (below 0.3) mean that the random momenta are too small to reach all energies of the posterior.

    Args:
        energy: shape (chain, draw).

    Returns:
        float64, shape (chain,); NaN for fewer than four draws or an energy that never changes.
    """
    if energy.shape[1] < MIN_DRAWS:
        return np.full(len(energy), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction: Array = np.square(np.diff(energy, axis=1)).mean(axis=1) / energy.var(axis=1, ddof=1)
    return fraction
