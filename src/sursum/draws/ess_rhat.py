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

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.common.cores import available_cores
from sursum.draws.geyer import effective_size
from sursum.draws.ranks import Sorted

Array = NDArray[np.float64]

MIN_DRAWS = 4
"""With fewer draws the two halves of a chain have no variance."""

BLOCK = 1 << 18
"""Draws per block: keeps the working arrays of a thread inside its cache, for any number of unknowns."""

TAILS = (0.05, 0.95)
"""The quantiles whose indicators the tail size is of."""


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
    found = {name: np.full((3, math.prod(draws.shape[2:])), np.nan) for name, draws in sites.items()}
    blocks = list(_blocks(sites))

    def work(block: Sequence[_Columns]) -> None:
        rows = [np.ascontiguousarray(np.moveaxis(part.draws, -1, 0), dtype=np.float64) for part in block]
        with np.errstate(divide="ignore", invalid="ignore"):
            result = _mixing(np.concatenate(rows) if len(rows) > 1 else rows[0])
        begin = 0
        for part, row in zip(block, rows, strict=True):
            found[part.name][:, part.begin : part.begin + len(row)] = result[:, begin : begin + len(row)]
            begin += len(row)

    workers = min(available_cores(), len(blocks))
    if workers > 1:  # NumPy computes without the interpreter's lock
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, blocks))
    else:
        for block in blocks:
            work(block)
    return {name: Mixing(*(row.reshape(sites[name].shape[2:]) for row in rows)) for name, rows in found.items()}


@dataclass(frozen=True, eq=False)
class _Columns:
    """Some unknowns of a site, from number `begin` on: (chain, draw, unknown)."""

    name: str
    begin: int
    draws: NDArray[Any]


def _blocks(sites: Mapping[str, NDArray[Any]]) -> Iterator[list[_Columns]]:
    """All unknowns that have diagnostics, about `BLOCK` draws at once."""
    block, room = list[_Columns](), 0
    for name, draws in sites.items():
        chains, length, *shape = draws.shape
        if length < MIN_DRAWS or chains < 1:
            continue
        flat, most = draws.reshape(chains, length, math.prod(shape)), max(1, BLOCK // (chains * length))
        begin = 0
        while begin < flat.shape[2]:
            if not block:
                room = most
            part = _Columns(name, begin, flat[:, :, begin : begin + room])
            block.append(part)
            begin, room = begin + part.draws.shape[2], room - part.draws.shape[2]
            if not room:
                yield block
                block = []
    if block:
        yield block


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


def _mixing(block: Array) -> Array:
    """R-hat, bulk and tail size, shape (3, p), of a block of shape (p, chain, draw)."""
    p, chains, length = block.shape
    flat = block.reshape(p, -1)
    halves = _split(block)
    ranked = Sorted.of(halves.reshape(p, -1))
    scores = ranked.scores().reshape(halves.shape)
    r_hat = np.full(p, np.nan)
    if chains > 1:
        r_hat = np.maximum(_r_hat(scores), _r_hat(ranked.folded_scores().reshape(halves.shape)))
    whole = ranked if length % 2 == 0 else Sorted.of(flat)  # the halves of an odd number leave one draw out
    low, high = (whole.quantile(probability)[:, None, None] for probability in TAILS)
    bulk = effective_size(scores)
    tail = np.minimum(effective_size(_split(block <= low)), effective_size(_split(block <= high)))
    unknown = np.isnan(whole.values[:, -1])  # sorted last
    return np.where(unknown, np.nan, np.stack([r_hat, bulk, tail]))


def _split(block: NDArray[Any]) -> NDArray[Any]:
    """Each chain as two; the middle draw of an odd number is left out."""
    half = block.shape[2] // 2
    return np.concatenate([block[:, :, :half], block[:, :, -half:]], axis=1)


def _r_hat(halves: Array) -> Array:
    """The potential scale reduction factor of split chains, shape (p, chain, draw) to (p,)."""
    length = halves.shape[2]
    between = length * halves.mean(axis=2).var(axis=1, ddof=1)
    within = halves.var(axis=2, ddof=1).mean(axis=1)
    r_hat: Array = np.sqrt((between / within + length - 1) / length)
    return r_hat
