"""Incomplete gamma and beta functions, Student's distribution function, and their logarithms, far out in the tails too.

Each is differentiable once by all its arguments, which are broadcast; a number may stand for a tensor. They are computed in
float64, and have the dtype of the arguments. Relative errors of values and derivatives are about 1e-13, unless an argument is
not known better; by more than a thousand degrees of freedom, Student's has a derivative with 1e-11. Where a and b are 10⁹ and
more, incomplete beta functions are not accurate near the mean.

For the logistic distribution, torch's `logsigmoid` is as good.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from sursum.common.precision import is_double
from sursum.common.special.incomplete_beta import INCOMPLETE_BETA, BetaWhich
from sursum.common.special.incomplete_gamma import INCOMPLETE, Which
from sursum.common.special.log_beta import LOG_BETA, VALUE
from sursum.common.special.log_incomplete_gamma import LOG_INCOMPLETE, LogWhich
from sursum.common.special.normal_cdf import log_ndtr
from sursum.common.special.special_operator import SpecialOperator
from sursum.common.special.student_cdf import STUDENT, StudentWhich
from sursum.common.torch_private import DisableTorchFunction
from sursum.errors import ArgumentError

Number = Tensor | float

_LOG_HALF = -0.6931471805599453


def gammainc(a: Number, x: Number) -> Tensor:
    r"""The regularised lower incomplete gamma function: the distribution function of Gamma(a, 1).

    .. math:: P(a, x) = \frac{1}{\Gamma(a)} \int_0^x t^{a - 1} e^{-t} \, dt

    Args:
        a: the shape, at least 0.
        x: at least 0. Outside, and where a = x = 0 or both are infinite, the result is NaN.

    Raises:
        ArgumentError: an argument is neither a tensor of real numbers nor a number.

    References: Moore, "Algorithm AS 187: Derivatives of the incomplete gamma integral" (1982); DLMF 8.

    Example:
        >>> import torch, sursum as su
        >>> a = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        >>> p = su.ops.gammainc(a, 1.0)
        >>> round(float(p.detach()), 9), round(float(torch.autograd.grad(p, a)[0]), 9)
        (0.264241118, -0.276196046)
    """
    return _apply(INCOMPLETE, Which.LOWER, a, x)


def gammaincc(a: Number, x: Number) -> Tensor:
    """The upper incomplete gamma function, 1 − P(a, x), accurate where it is small; see `gammainc`.

    Example:
        >>> import sursum as su
        >>> su.ops.gammaincc(2.0, 50.0)
        tensor(9.8366e-21)
    """
    return _apply(INCOMPLETE, Which.UPPER, a, x)


def log_gammainc(a: Number, x: Number) -> Tensor:
    """log P(a, x), also where P is too small for a double; see `gammainc`.

    Example:
        >>> import sursum as su
        >>> su.ops.log_gammainc(500.0, 1.0)
        tensor(-2612.3284)
    """
    return _apply(LOG_INCOMPLETE, LogWhich.LOWER, a, x)


def log_gammaincc(a: Number, x: Number) -> Tensor:
    """log(1 − P(a, x)), the log survival function of Gamma(a, 1), also where it is too small for a double; see `gammainc`.

    Example:
        >>> import sursum as su
        >>> su.ops.log_gammaincc(1.0, 2000.0)
        tensor(-2000.)
    """
    return _apply(LOG_INCOMPLETE, LogWhich.UPPER, a, x)


def betainc(a: Number, b: Number, x: Number) -> Tensor:
    r"""The regularised incomplete beta function: the distribution function of Beta(a, b).

    .. math:: I_x(a, b) = \frac{1}{B(a, b)} \int_0^x t^{a - 1} (1 - t)^{b - 1} \, dt

    Args:
        a: at least 0.
        b: at least 0.
        x: between 0 and 1. Outside, and where a = b = 0 or both are infinite, the result is NaN.

    Raises:
        ArgumentError: an argument is neither a tensor of real numbers nor a number.

    References: DiDonato and Morris, "Algorithm 708" (1992); Boik and Robison-Cox, "Derivatives of the incomplete beta function"
        (1998); DLMF 8.17.

    Example:
        >>> import torch, sursum as su
        >>> a = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        >>> p = su.ops.betainc(a, 3.0, 0.4)
        >>> round(float(p.detach()), 6), round(float(torch.autograd.grad(p, a)[0]), 6)
        (0.5248, -0.240869)
    """
    return _beta(BetaWhich.VALUE, a, b, x, upper=False)


def betaincc(a: Number, b: Number, x: Number) -> Tensor:
    """The complement, 1 − I_x(a, b), accurate where it is small; see `betainc`.

    Example:
        >>> import torch, sursum as su
        >>> su.ops.betaincc(2.0, 30.0, torch.tensor(0.9, dtype=torch.float64))
        tensor(2.8000e-29, dtype=torch.float64)
    """
    return _beta(BetaWhich.VALUE, a, b, x, upper=True)


def log_betainc(a: Number, b: Number, x: Number) -> Tensor:
    """log I_x(a, b), also where I is too small for a double; see `betainc`.

    Example:
        >>> import sursum as su
        >>> su.ops.log_betainc(1000.0, 1.0, 0.25)
        tensor(-1386.2943)
    """
    return _beta(BetaWhich.LOG, a, b, x, upper=False)


def log_betaincc(a: Number, b: Number, x: Number) -> Tensor:
    """log(1 − I_x(a, b)), also where it is too small for a double; see `betainc`.

    Example:
        >>> import sursum as su
        >>> su.ops.log_betaincc(1.0, 1000.0, 0.75)
        tensor(-1386.2943)
    """
    return _beta(BetaWhich.LOG, a, b, x, upper=True)


def student_t_cdf(df: Number, t: Number) -> Tensor:
    r"""The distribution function of Student's distribution; that of −t is the survival function.

    .. math:: F_ν(t) = \tfrac12 I_x(ν/2, 1/2) \quad (t \le 0), \qquad x = ν / (ν + t^2)

    Args:
        df: the degrees of freedom ν, positive.
        t: any number.

    Raises:
        ArgumentError: an argument is neither a tensor of real numbers nor a number.

    Example:
        >>> import sursum as su
        >>> su.ops.student_t_cdf(1.0, -1.0)
        tensor(0.2500)
    """
    return _apply(STUDENT, StudentWhich.VALUE, df, t)


def log_student_t_cdf(df: Number, t: Number) -> Tensor:
    """The logarithm of `student_t_cdf`, far out in the tails too.

    Example:
        >>> import torch, sursum as su
        >>> su.ops.log_student_t_cdf(30.0, torch.tensor(-1e30, dtype=torch.float64))
        tensor(-2023.9365, dtype=torch.float64)
    """
    return _apply(STUDENT, StudentWhich.LOG, df, t)


def log_normal_cdf(x: Number) -> Tensor:
    r"""The logarithm of the standard normal distribution function, far out in the tail too, and with its derivative there.

    .. math:: \log Φ(x) = \log(\tfrac12 \operatorname{erfcx}(-x / \sqrt2)) - x^2 / 2

    There are derivatives of any order. `torch.special.log_ndtr` has the same values, but loses the derivative's digits in the
    tail: at −10⁵ half of them, at −10⁸ all. In a double density it is this function.

    Raises:
        ArgumentError: the argument is neither a tensor of real numbers nor a number.

    Example:
        >>> import torch, sursum as su
        >>> x = torch.tensor(-1e5, dtype=torch.float64, requires_grad=True)
        >>> round(float(torch.autograd.grad(su.ops.log_normal_cdf(x), x)[0]), 8)
        100000.00001
    """
    (x,) = _tensors(x)
    return log_ndtr(x)


def betaln(a: Number, b: Number) -> Tensor:
    r"""The logarithm of the beta function, accurate where a or b is large.

    .. math:: \log B(a, b) = \log Γ(a) + \log Γ(b) - \log Γ(a + b)

    Args:
        a: at least 0.
        b: at least 0.

    Raises:
        ArgumentError: an argument is neither a tensor of real numbers nor a number.

    Example:
        >>> import torch, sursum as su
        >>> su.ops.betaln(2.0, torch.tensor(1e15, dtype=torch.float64))
        tensor(-69.0776, dtype=torch.float64)
    """
    return _apply(LOG_BETA, VALUE, a, b)


def log_binomial(n: Number, k: Number) -> Tensor:
    r"""The logarithm of the binomial coefficient, accurate where n is large.

    .. math:: \log \binom{n}{k} = -\log(n + 1) - \log B(k + 1, n - k + 1)

    Args:
        n: at least k; it need not be an integer.
        k: at least 0.

    Raises:
        ArgumentError: an argument is neither a tensor of real numbers nor a number.

    Example:
        >>> import sursum as su
        >>> round(float(su.ops.log_binomial(10.0, 3.0).exp()), 3)
        120.0
    """
    n, k = _tensors(n, k)
    wide, dtype = n.to(torch.float64), _common_dtype((n, k))
    found = -torch.log1p(wide) - LOG_BETA(VALUE, k.to(torch.float64) + 1, wide - k + 1)
    return _narrow(found, dtype)


def log1mexp(x: Tensor) -> Tensor:
    """log(1 − eˣ) for x ≤ 0: the logarithm of what a probability of logarithm x leaves.

    References: Mächler, "Accurately computing log(1 − exp(−|a|))" (2012).

    Example:
        >>> import torch, sursum as su
        >>> su.ops.log1mexp(torch.tensor([-1e-10, -1.0, -100.0], dtype=torch.float64))
        tensor([-2.3026e+01, -4.5868e-01, -3.7201e-44], dtype=torch.float64)
    """
    near = x > _LOG_HALF
    # Each branch is given what it is good for, so that no NaN reaches the gradient through the other.
    of_near, of_far = torch.where(near, x, _LOG_HALF), torch.where(near, _LOG_HALF, x)
    return torch.where(near, torch.log(-torch.expm1(of_near)), torch.log1p(-torch.exp(of_far)))


def logsubexp(a: Tensor, b: Tensor) -> Tensor:
    """log(eᵃ − eᵇ) for a ≥ b: the logarithm of a difference of probabilities, −∞ where they are equal.

    Example:
        >>> import torch, sursum as su
        >>> su.ops.logsubexp(torch.tensor(-1000.0), torch.tensor(-1001.0))
        tensor(-1000.4587)
    """
    none = torch.isneginf(b)
    return torch.where(none, a, a + log1mexp(torch.where(none, 0.0, b) - torch.where(none, 1.0, a)))


def _beta(which: BetaWhich, a: Number, b: Number, x: Number, *, upper: bool) -> Tensor:
    a, b, x = _tensors(a, b, x)
    dtype = _common_dtype((a, b, x))
    with DisableTorchFunction():
        point = x.to(torch.float64)
        rest = 1 - point
    found = INCOMPLETE_BETA(which, b, a, rest, point) if upper else INCOMPLETE_BETA(which, a, b, point, rest)
    return _narrow(found, dtype)


def _apply(special: SpecialOperator, which: int, *args: Number) -> Tensor:
    tensors = _tensors(*args)
    return _narrow(special(which, *tensors), _common_dtype(tensors))


def _common_dtype(tensors: tuple[Tensor, ...]) -> torch.dtype:
    return reduce(torch.promote_types, (tensor.dtype for tensor in tensors))


def _tensors(*args: Any) -> tuple[Tensor, ...]:
    """The arguments as tensors; a number has the dtype of the tensors, else torch's default one."""
    given = [arg.dtype for arg in args if isinstance(arg, Tensor) and arg.is_floating_point()]
    dtype = given[0] if given else torch.get_default_dtype()
    for arg in args:
        if not isinstance(arg, (Tensor, int, float)) or (isinstance(arg, Tensor) and arg.is_complex()):
            raise ArgumentError(f"a special function takes tensors of real numbers, or numbers, but got {arg!r}.")
    return tuple(
        (arg if arg.is_floating_point() else arg.to(dtype)) if isinstance(arg, Tensor) else torch.tensor(arg, dtype=dtype)
        for arg in args
    )


def _narrow(found: Tensor, dtype: torch.dtype) -> Tensor:
    """The result in the dtype of the arguments, which a density computes in doubles."""
    return found if is_double() else found.to(dtype)
