"""How far means over a sampler's draws may be from the truth on any processor: draws change with a density's last digits."""

from __future__ import annotations

import numpy as np

from sursum.draws.ess_rhat import mixing


def error(draws):
    r"""The standard error of the mean of draws (chain, draw, …): :math:`\mathrm{sd} / \sqrt{\mathrm{ESS}}`, both of these.

    It is asked of squares themselves where squares are averaged: they are worth less than what is squared.
    """
    return draws.std((0, 1)) / np.sqrt(mixing(draws).ess_bulk)


def agree(draws, mean, covariance, errors=4.0):
    """Whether draws (chain, draw, n) have this mean and this covariance, within so many standard errors of each number."""
    away = draws - mean
    products = away[..., :, None] * away[..., None, :]
    means = np.abs(away.mean((0, 1))) <= errors * error(draws)
    return bool(means.all() and (np.abs(products.mean((0, 1)) - covariance) <= errors * error(products)).all())


def standard_error(draws):
    """The error of the mean of a scalar, by the smaller of the effective sample sizes of bulk and tails."""
    found = mixing(draws)
    return float(draws.std() / np.sqrt(min(found.ess_bulk, found.ess_tail)))
