"""The logarithm of the beta function and its derivatives, without the difference of large logarithms of gamma functions."""

from __future__ import annotations

import numpy as np
import torch

from sursum.common.special.gamma_series import by_torch, digamma_difference, gamma_ratio
from sursum.common.special.special_operator import Array, SpecialOperator

VALUE, BY_FIRST, BY_SECOND = 0, 1, 2


def log_beta(a: Array, b: Array, which: int = VALUE) -> Array:
    """log B(a, b), or its derivative by a or by b; the C of `compiler/native` computes it alike."""
    if which == BY_SECOND:
        a, b = b, a
    with np.errstate(all="ignore"):
        if which == VALUE:
            least, most = np.minimum(a, b), np.maximum(a, b)
            found = by_torch(torch.lgamma, least) - gamma_ratio(least, most)
            found = np.where(np.isinf(most), np.where(least == 0, np.nan, -np.inf), np.where(least == 0, np.inf, found))
        else:
            found = np.where(np.isinf(b), -np.inf, -digamma_difference(b, a))
            found = np.where(np.isinf(a), np.where(np.isinf(b), np.nan, 0.0), found)
            found = np.where(a == 0, np.where(b == 0, np.nan, -np.inf), found)
        return np.where((a >= 0) & (b >= 0), found, np.nan)


def _kernel(args: tuple[Array, ...], which: int) -> Array:
    return log_beta(args[0], args[1], which)


#: `sursum::log_beta(a, b, which)`.
LOG_BETA = SpecialOperator("log_beta", 2, _kernel, {VALUE: ((BY_FIRST, 1.0), (BY_SECOND, 1.0))})
