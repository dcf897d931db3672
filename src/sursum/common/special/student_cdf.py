"""Student's distribution function, its logarithm far out in the tails, and their derivatives.

.. math:: F_ν(t) = \\tfrac12 I_x(ν/2, 1/2) \\quad (t ≤ 0), \\qquad x = ν / (ν + t^2)
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from sursum.common.special.gamma_series import gamma_ratio
from sursum.common.special.incomplete_beta import BetaWhich, incomplete_beta
from sursum.common.special.special_operator import Array, SpecialOperator

_MOST = 1e150


class StudentWhich(IntEnum):
    """What is computed: F, or its derivative by the degrees of freedom or by t; or log F, or the derivatives of that."""

    VALUE = 0
    BY_DF = 1
    BY_T = 2
    LOG = 3
    LOG_BY_DF = 4
    LOG_BY_T = 5


def student_cdf(df: Array, t: Array, which: StudentWhich) -> Array:
    """The same of vectors of NumPy's; the C of `compiler/native` computes it alike."""
    part, logs = which % 3, which >= StudentWhich.LOG
    with np.errstate(all="ignore"):
        r = np.abs(t) / np.sqrt(df)
        s = np.square(np.minimum(r, _MOST))
        # Further out the tail is a power of r.
        beyond = np.where(r > _MOST, np.log(np.abs(t)) - 0.5 * np.log(df) - np.log(_MOST), 0.0)
        x, y = 1 / (1 + s), s / (1 + s)
        half = np.full_like(df, 0.5)
        log_tail = np.where(t == 0, 0.0, incomplete_beta(df / 2, half, x, y, BetaWhich.LOG) - df * beyond) - np.log(2)
        log_rest = np.log1p(-np.exp(log_tail))
        log_whole = np.where(t <= 0, log_tail, log_rest)
        if part == 0:
            found = log_whole if logs else np.where(t <= 0, np.exp(log_tail), 1 - np.exp(log_tail))
            edge = np.where(t > 0, 0.0, -np.inf) if logs else np.where(t > 0, 1.0, 0.0)
        elif part == 2:
            density = gamma_ratio(half, df / 2) - 0.5 * np.log(np.pi) - 0.5 * np.log(df)
            density -= (df / 2 + 0.5) * (np.log1p(s) + 2 * beyond)
            found, edge = np.exp(density - log_whole if logs else density), np.zeros_like(df)
            if logs:
                tail = incomplete_beta(df / 2, half, x, y, BetaWhich.LOG_BY_X) * 2 * x * y / -t
                found = np.where((t < 0) & (s > 1), tail, found)
        else:
            slope = 0.5 * incomplete_beta(df / 2, half, x, y, BetaWhich.LOG_BY_A)
            slope = slope + incomplete_beta(df / 2, half, x, y, BetaWhich.LOG_BY_X) * x * y / df - beyond
            share = np.exp(log_tail - log_whole if logs else log_tail)
            found = np.where(t == 0, 0.0, np.where(t < 0, slope, -slope) * share)
            edge = np.where((t < 0) & logs, -np.inf, 0.0)
        return np.where(~(df > 0) | np.isnan(t) | np.isinf(df), np.nan, np.where(np.isinf(t), edge, found))


def _kernel(args: tuple[Array, ...], which: int) -> Array:
    return student_cdf(args[0], args[1], StudentWhich(which))


#: `sursum::student_cdf(df, t, which)`.
STUDENT = SpecialOperator("student_cdf", 2, _kernel, {
    StudentWhich.VALUE: ((StudentWhich.BY_DF, 1.0), (StudentWhich.BY_T, 1.0)),
    StudentWhich.LOG: ((StudentWhich.LOG_BY_DF, 1.0), (StudentWhich.LOG_BY_T, 1.0)),
})  # fmt: skip
